#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/token_constraint.h"
#include "grammar/matcher.h"

namespace awq::chat {

/// What the engine asks of a grammar.
class GrammarConstraint : public engine::TokenConstraint {
 public:
  explicit GrammarConstraint(std::shared_ptr<grammar::CompiledGrammar> grammar) : matcher_(std::move(grammar)) {}

  void allowed(std::span<std::uint32_t> mask_bits) override;
  void accept(std::int32_t id) override;
  bool finished() const override;
  std::uint64_t work() const override { return matcher_.work(); }
  std::string_view problem() const override { return problem_; }

 private:
  mutable grammar::Matcher matcher_;
  bool failed_ = false;
  std::string problem_;
};

}  // namespace awq::chat
