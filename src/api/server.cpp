#include "awq/server.h"

#include "api/setup.h"
#include "server/serve.h"

namespace awq {

void serve_model(const ServeOptions& options) {
  api::set_up_threads(options.threads);
  server::serve(options);
}

}  // namespace awq
