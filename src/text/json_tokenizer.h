#pragma once

#include "text/added_tokens.h"
#include "text/json_field.h"

namespace awq::text {

/// One entry of added_tokens (or of added_tokens_decoder, whose ids are the keys).
AddedToken read_added_token(const JsonField& field, std::int32_t id);

}  // namespace awq::text
