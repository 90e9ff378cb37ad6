// Bodies of the OpenAI routes: any bytes are either a request whose numbers are within their ranges, or a 400.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/openai/chat_fields.h"
#include "server/openai/completion_fields.h"

namespace {

using namespace awq::server;

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const CommonFields& common, const awq::ServeLimits& limits) {
  const awq::engine::SamplingParams& s = common.sampling;
  require(std::isfinite(s.temperature) && s.temperature >= 0 && s.temperature <= 2);
  require(s.top_p > 0 && s.top_p <= 1 && s.min_p >= 0 && s.min_p <= 1 && s.top_k >= 0);
  require(s.repetition_penalty > 0 && std::isfinite(s.repetition_penalty));
  require(std::abs(s.presence_penalty) <= 2 && std::abs(s.frequency_penalty) <= 2);
  require(common.n >= 1 && common.n <= limits.max_n && s.min_tokens >= 0);
  require(static_cast<std::int64_t>(common.stop.size()) <= limits.max_stop_strings);
  for (const auto& [id, bias] : s.bias) require(id >= 0 && std::abs(bias) <= 100);
}

template <typename Read>
void run(Read read) {
  try {
    read();
  } catch (const ApiError& error) {
    require(error.status() == 400 && !error.body().empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string body(reinterpret_cast<const char*>(data), size);
  static const awq::ServeLimits limits = [] {
    awq::ServeLimits out;
    out.max_json_values = 4096;
    return out;
  }();
  run([&] {
    const OrderedJson json = parse_body(body, limits);
    run([&] { check(read_completion(json, limits, {}).common, limits); });
    run([&] {
      const ChatFields chat = read_chat(json, limits, {});
      check(chat.common, limits);
      require(chat.messages.is_array() && !chat.messages.empty());
    });
  });
  return 0;
}
