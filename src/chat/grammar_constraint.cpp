#include "chat/grammar_constraint.h"

#include <algorithm>

#include "awq/error.h"

namespace awq::chat {

/// A grammar that turns out to be too expensive allows nothing more, which ends the choice with problem(); the engine's
/// thread sees no exception.
void GrammarConstraint::allowed(std::span<std::uint32_t> mask_bits) {
  try {
    if (!failed_) {
      matcher_.allowed(mask_bits);
      const bool any = std::any_of(mask_bits.begin(), mask_bits.end(), [](std::uint32_t word) { return word != 0; });
      if (any) return;
      failed_ = true;
      problem_ =
          "no token of the model can follow the text so far: it is nested too deeply, or the model has no such "
          "characters";
    }
  } catch (const Error& error) {
    failed_ = true;
    problem_ = error.message();
  }
  std::fill(mask_bits.begin(), mask_bits.end(), 0);
}

void GrammarConstraint::accept(std::int32_t id) {
  try {
    if (!matcher_.accept(id)) failed_ = true;
  } catch (const Error& error) {
    failed_ = true;
    problem_ = error.message();
  }
}

bool GrammarConstraint::finished() const {
  try {
    return !failed_ && matcher_.finished();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace awq::chat
