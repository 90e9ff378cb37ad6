#pragma once

#include <cstdint>
#include <vector>

#include "text/json_field.h"

namespace awq::text {

/// The ids that a post-processor puts around a single sequence.
struct SpecialIds {
  std::vector<std::int32_t> prefix;
  std::vector<std::int32_t> suffix;
};

/// The `post_processor` of tokenizer.json. Throws kUnsupported for a type that is not implemented.
SpecialIds read_post_processor(const JsonField& field);

}  // namespace awq::text
