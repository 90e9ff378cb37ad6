#include "chat/grammar_constraint.h"

#include <algorithm>

#include "awq/error.h"

namespace awq::chat {

/// A grammar that turns out to be too expensive allows nothing more, which ends the choice with an error; the engine's
/// thread sees no exception.
void GrammarConstraint::allowed(std::span<std::uint32_t> mask_bits) {
  try {
    if (!failed_) return matcher_.allowed(mask_bits);
  } catch (const Error&) {
    failed_ = true;
  }
  std::fill(mask_bits.begin(), mask_bits.end(), 0);
}

void GrammarConstraint::accept(std::int32_t id) {
  try {
    if (!matcher_.accept(id)) failed_ = true;
  } catch (const Error&) {
    failed_ = true;
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
