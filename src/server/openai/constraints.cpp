#include "server/openai/constraints.h"

namespace awq::server {

ConstraintFactory compile_constraint(const Service&, const ConstraintSpec& spec) {
  if (spec.kind == ConstraintSpec::Kind::kNone) return nullptr;
  throw ApiError(400, "structured outputs are not supported by this version of the server", "structured_outputs");
}

}  // namespace awq::server
