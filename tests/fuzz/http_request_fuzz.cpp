// The HTTP request reader: bytes as a connection delivers them, whole and in pieces. Both ways must end alike, and
// what is held for bodies must be given back.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/request_reader.h"

namespace {

using awq::server::BodyBudget;
using awq::server::HttpRequest;
using awq::server::RequestReader;

struct Outcome {
  RequestReader::State state;
  int status = 0;
  std::string body;
};

awq::ServeLimits small_limits() {
  awq::ServeLimits limits;
  limits.max_request_line_bytes = 256;
  limits.max_header_bytes = 1024;
  limits.max_headers = 16;
  limits.max_body_bytes = 2048;
  limits.max_total_body_bytes = 1536;
  return limits;
}

Outcome read(std::string_view input, std::size_t step) {
  static const awq::ServeLimits limits = small_limits();
  BodyBudget budget(limits.max_total_body_bytes);
  Outcome out{RequestReader::State::kHead, 0, {}};
  {
    RequestReader reader(limits, budget);
    std::string inbox;
    for (std::size_t at = 0; at < input.size(); at += step) {
      inbox += input.substr(at, step);
      while (!inbox.empty()) {
        const std::size_t used = reader.feed(inbox);
        if (used > inbox.size()) std::abort();
        inbox.erase(0, used);
        if (used == 0) break;
      }
      if (budget.held() > limits.max_total_body_bytes || budget.held() < 0) std::abort();
    }
    out.state = reader.state();
    if (out.state == RequestReader::State::kFailed) {
      out.status = reader.problem().status();
      if (out.status < 400 || out.status > 599 || reader.problem().body().empty()) std::abort();
    }
    if (out.state == RequestReader::State::kDone) {
      HttpRequest request = reader.take();
      if (request.body.size() > static_cast<std::size_t>(limits.max_body_bytes)) std::abort();
      out.body = request.body;
    }
  }
  if (budget.held() != 0) std::abort();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Outcome whole = read(input, size + 1);
  const Outcome pieces = read(input, 1);
  if (whole.state == RequestReader::State::kDone &&
      (pieces.state != RequestReader::State::kDone || pieces.body != whole.body)) {
    std::abort();
  }
  return 0;
}
