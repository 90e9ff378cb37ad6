#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/token_constraint.h"
#include "grammar/vocabulary.h"

namespace awq::chat {

/// Ends a thought that has had its tokens: the next ones can only be </think>, as soon as `inner` allows that.
/// Otherwise what `inner` allows, or everything.
class ThinkingBudget final : public engine::TokenConstraint {
 public:
  struct Options {
    std::shared_ptr<const grammar::Vocabulary> vocabulary;  ///< with <think> and </think> as text: tool_markers()
    std::vector<std::int32_t> end_ids;                      ///< of </think>, at least one
    std::int64_t budget = 0;                                ///< tokens between the tags, 0 or more
    bool inside = false;                                    ///< the prompt has opened the thought
  };
  /// `inner` may be null; what it constrains has to allow any thought before it (add_reasoning_prefix()).
  ThinkingBudget(Options options, std::unique_ptr<engine::TokenConstraint> inner);

  void allowed(std::span<std::uint32_t> mask_bits) override;
  void accept(std::int32_t id) override;
  bool finished() const override;
  std::string_view problem() const override { return inner_ ? inner_->problem() : std::string_view(); }
  std::uint64_t work() const override { return inner_ ? inner_->work() : 0; }

 private:
  enum class Place { kBefore, kInside, kAfter };

  bool spent() const { return place_ == Place::kInside && tokens_ >= options_.budget; }

  Options options_;
  std::unique_ptr<engine::TokenConstraint> inner_;
  Place place_;
  std::string text_;         ///< kBefore: all of it; kInside: what may be the beginning of </think>
  std::int64_t tokens_ = 0;  ///< of the thought
  std::size_t ended_ = 0;    ///< how many of end_ids were said in a row
};

}  // namespace awq::chat
