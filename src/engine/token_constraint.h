#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace awq::engine {

/// Restricts what one choice may say next: a grammar, a schema, a list of texts. Implemented above the engine.
/// The engine calls it from its own thread only, in this order for every new token: allowed(), then accept(). Every
/// call is made with the tokens the choice really has: neither preemption nor speculation rolls anything back.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// Fills `mask_bits` [ceil(vocab_size / 32)]: bit i % 32 of word i / 32 is set when token i may come next. Every word
  /// is overwritten. End-of-sequence ids are the constraint's to allow, where the text may end. At least one bit below
  /// vocab_size has to be set; none ends the choice with FinishReason::kError.
  virtual void allowed(std::span<std::uint32_t> mask_bits) = 0;
  /// The token that was chosen; one of those allowed.
  virtual void accept(std::int32_t id) = 0;
  /// True when nothing can follow: the choice ends with FinishReason::kStop at once, without an end-of-sequence token.
  virtual bool finished() const = 0;
  /// What all calls so far have taken, in steps of about ten nanoseconds: the engine keeps the sum of a step bounded.
  virtual std::uint64_t work() const { return 0; }
  /// Why nothing is allowed, where the request asked for more than the constraint's own limits: its client's mistake.
  virtual std::string_view problem() const { return {}; }
};

}  // namespace awq::engine
