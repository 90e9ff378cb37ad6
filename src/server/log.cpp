#include "server/log.h"

#include <fmt/format.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <map>

#include "base/check.h"

namespace awq::server {
namespace {

constexpr std::size_t kQueuedLines = 8192;
constexpr std::size_t kMaxClientText = 64;

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance;
  return instance;
}

}  // namespace

void start_log(const std::string& level) {
  using spdlog::level::level_enum;
  static const std::map<std::string, level_enum> kLevels = {{"debug", level_enum::debug},
                                                            {"info", level_enum::info},
                                                            {"warning", level_enum::warn},
                                                            {"error", level_enum::err},
                                                            {"off", level_enum::off}};
  const auto found = kLevels.find(level);
  if (found == kLevels.end())
    fail(ErrorCode::kInvalidArgument, "--log-level {}: expected debug, info, warning, error or off", printable(level));
  spdlog::init_thread_pool(kQueuedLines, 1);
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  logger() = std::make_shared<spdlog::async_logger>("awq", std::move(sink), spdlog::thread_pool(),
                                                    spdlog::async_overflow_policy::overrun_oldest);
  logger()->set_level(found->second);
  logger()->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  logger()->flush_on(level_enum::info);
}

void stop_log() {
  spdlog::shutdown();  // its thread holds the logger until it has ended
  logger().reset();
}

void log_request(const RequestLog& r) {
  if (!logger()) return;
  std::string line =
      fmt::format("event=request id={} method={} route={} status={} seconds={:.4f}", printable(r.id, kMaxClientText),
                  printable(r.method, kMaxClientText), r.route, r.status, r.seconds);
  if (r.prompt_tokens >= 0) line += fmt::format(" prompt_tokens={}", r.prompt_tokens);
  if (r.completion_tokens >= 0) line += fmt::format(" completion_tokens={}", r.completion_tokens);
  if (r.first_token_seconds >= 0) line += fmt::format(" first_token_seconds={:.4f}", r.first_token_seconds);
  if (!r.finish.empty()) line += fmt::format(" finish={}", r.finish);
  logger()->info(line);
}

void log_note(const std::string& text) {
  if (logger()) logger()->info("event=note text=\"{}\"", text);
}
void log_warning(const std::string& text) {
  if (logger()) logger()->warn("event=warning text=\"{}\"", text);
}
void log_error(const std::string& text) {
  if (logger()) logger()->error("event=error text=\"{}\"", text);
}

}  // namespace awq::server
