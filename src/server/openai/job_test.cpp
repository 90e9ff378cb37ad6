// From a request to its answer, with workers and an engine but without connections.

#include "server/openai/job.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/test_support.h"

namespace awq::server {
namespace {

using test::Call;
using test::Server;

constexpr const char* kChat = "/v1/chat/completions";

/// A chat that leaves it to the server how long its answer may get.
std::string open_chat(const std::string& more = "") {
  return R"({"messages": [{"role": "user", "content": "Tell me a story."}], "ignore_eos": true)" + more + "}";
}

TEST(Job, ManyChatsWithoutMaxTokensAreNotTooManyTokens) {
  Server server({}, 131072);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 200; ++i) {
    calls.push_back(std::make_unique<Call>());
    server.post(kChat, open_chat(R"(, "stream": true)"), *calls.back());
  }
  // A stream begins once the engine has taken the request.
  for (const auto& call : calls) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (call->status() == 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(call->status(), 200) << call->text();
  }
  EXPECT_EQ(server.hits("max-queued-tokens"), 0);
  for (const auto& call : calls) call->exchange()->cancel(CancelReason::kDisconnected);
  EXPECT_TRUE(server.engine().wait_idle(std::chrono::seconds(60)));
}

TEST(Job, WithoutMaxTokensAnswersAreAsLongAsTheQueueAllows) {
  ServeOptions options;
  options.limits.max_queued_tokens = 100;
  Server server(options);
  Call call;
  server.post(kChat, open_chat(R"(, "n": 2)"), call);
  ASSERT_TRUE(call.wait());
  ASSERT_EQ(call.status(), 200) << call.text();
  const OrderedJson answer = OrderedJson::parse(call.text());
  const OrderedJson& usage = answer["usage"];
  EXPECT_EQ(usage["completion_tokens"].get<int>(), 2 * (50 - usage["prompt_tokens"].get<int>()));
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
}

}  // namespace
}  // namespace awq::server
