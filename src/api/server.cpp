#include "awq/server.h"

#include "api/setup.h"
#include "server/serve.h"

namespace awq {

void serve_model(const ServeOptions& options) {
  api::set_up_threads(options.threads, options.threads_decode);
  api::set_up_activations(options.activations);
  api::wants_int8_head(options.head);  // refuses other names before anything is loaded
  api::open_device(options.device, options.head);
  server::serve(options);
}

}  // namespace awq
