#pragma once

#include "awq/server.h"

namespace awq::server {

/// serve_model() of awq/server.h, with the threads of the kernels set up already.
void serve(const ServeOptions& options);

}  // namespace awq::server
