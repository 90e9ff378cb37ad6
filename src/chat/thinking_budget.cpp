#include "chat/thinking_budget.h"

#include <algorithm>

#include "chat/scan_text.h"

namespace awq::chat {
namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";

}  // namespace

ThinkingBudget::ThinkingBudget(Options options, std::unique_ptr<engine::TokenConstraint> inner)
    : options_(std::move(options)),
      inner_(std::move(inner)),
      place_(options_.inside ? Place::kInside : Place::kBefore) {}

void ThinkingBudget::allowed(std::span<std::uint32_t> mask_bits) {
  if (inner_) {
    inner_->allowed(mask_bits);
  } else {
    std::fill(mask_bits.begin(), mask_bits.end(), ~0U);
  }
  if (!spent()) return;
  const auto id = static_cast<std::uint32_t>(options_.end_ids[ended_]);
  const std::uint32_t bit = 1U << (id % 32);
  // A pattern that has no end of the thought in this place has one later.
  if ((mask_bits[id / 32] & bit) == 0) return;
  std::fill(mask_bits.begin(), mask_bits.end(), 0);
  mask_bits[id / 32] = bit;
}

void ThinkingBudget::accept(std::int32_t id) {
  if (inner_) inner_->accept(id);
  if (place_ == Place::kAfter) return;
  text_ += options_.vocabulary->bytes(id);
  if (place_ == Place::kBefore) {
    const std::string_view text =
        std::string_view(text_).substr(std::min(text_.find_first_not_of(kSpaces), text_.size()));
    if (text.starts_with(kThink)) {
      text_.clear();
      place_ = Place::kInside;
    } else if (!kThink.starts_with(text)) {
      place_ = Place::kAfter;  // an answer without a thought
    }
    return;
  }
  ended_ = spent() && id == options_.end_ids[ended_] ? ended_ + 1 : 0;
  ++tokens_;
  if (ended_ == options_.end_ids.size() || text_.find(kThinkEnd) != std::string::npos) place_ = Place::kAfter;
  text_.erase(0, text_.size() - std::min(text_.size(), kThinkEnd.size() - 1));
}

bool ThinkingBudget::finished() const { return inner_ && inner_->finished(); }

}  // namespace awq::chat
