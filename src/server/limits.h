#pragma once

#include "awq/server.h"

namespace awq::server {

/// Names one limit.
using LimitField = std::int64_t ServeLimits::*;

/// Its row of the table.
const ServeLimitInfo& limit_info(LimitField field);
/// Throws kInvalidArgument naming the flag whose value is out of range.
void check_limits(const ServeLimits& limits);

}  // namespace awq::server
