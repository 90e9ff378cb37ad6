// The reader of a server's responses: any bytes, in one piece and in many, give the same events or the same refusal.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "awq/error.h"
#include "bench/http_response.h"

namespace {

std::string read(std::string_view bytes, std::size_t piece) {
  std::string seen;
  awq::bench::SseReader events([&](std::string_view data) {
    seen += data;
    seen += '\0';
  });
  awq::bench::HttpResponseReader reader([&](std::string_view part) { events.feed(part); });
  try {
    for (std::size_t at = 0; at < bytes.size(); at += piece) reader.feed(bytes.substr(at, piece));
    reader.finish();
    seen += reader.done() ? 'd' : 'o';
  } catch (const awq::Error& error) {
    if (error.code() != awq::ErrorCode::kCorruptFile) std::abort();
    seen += 'e';
  }
  return seen + std::to_string(reader.status());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string whole = read(bytes, size);
  if (read(bytes, 1) != whole || read(bytes, 7) != whole) std::abort();
  return 0;
}
