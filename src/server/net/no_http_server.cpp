// What compilers other than GCC build: src/server/CMakeLists.txt says why.
#include "base/check.h"
#include "server/http_server.h"

namespace awq::server {

class HttpServer::Impl {};

HttpServer::HttpServer(const HttpServerOptions&) {
  fail(ErrorCode::kUnsupported, "this build has no HTTP server: it was not made with GCC");
}
HttpServer::~HttpServer() = default;
int HttpServer::port() const { return 0; }
bool HttpServer::loopback() const { return true; }
bool HttpServer::run(HttpHandler&, const std::function<void()>&) { return false; }

}  // namespace awq::server
