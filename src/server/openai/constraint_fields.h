#pragma once

#include "server/openai/common_fields.h"

namespace awq::server {

/// response_format, structured_outputs, the older guided_* fields, and json_schema and grammar as llama-server has
/// them: one of them at most.
ConstraintSpec read_constraint(const Fields& fields, const ServeLimits& limits);

}  // namespace awq::server
