#pragma once

#include <functional>
#include <memory>

#include "engine/token_constraint.h"
#include "server/openai/common_fields.h"
#include "server/service.h"

namespace awq::server {

using ConstraintFactory = std::function<std::unique_ptr<engine::TokenConstraint>()>;

/// Compiles what a request's text has to follow; null when there is nothing. Throws 400 for what cannot be compiled.
ConstraintFactory compile_constraint(const Service& service, const ConstraintSpec& spec);

}  // namespace awq::server
