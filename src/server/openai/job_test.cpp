// From a request to its answer, with workers and an engine but without connections.

#include "server/openai/job.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/check.h"
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
    EXPECT_TRUE(call->wait_for_head());
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

/// Takes some text, then fails as a bug or a lack of memory would.
class FailingParser : public OutputParser {
 public:
  explicit FailingParser(bool no_memory) : no_memory_(no_memory) {}
  void push(const std::string& text, ParsedText& out) override {
    out.content += text;
    if (++pushed_ < 3) return;
    if (no_memory_) throw std::bad_alloc();
    fail(ErrorCode::kInternal, "a failure that a test asked for");
  }
  void finish(ParsedText&) override {}

 private:
  bool no_memory_;
  int pushed_ = 0;
};

TEST(Job, AnExceptionOnAWorkerEndsItsRequestAlone) {
  Server server;
  for (const bool stream : {false, true}) {
    for (const bool no_memory : {false, true}) {
      SCOPED_TRACE(testing::Message() << "stream " << stream << ", no memory " << no_memory);
      Call call;
      JobSpec spec;
      spec.common.n = 2;
      spec.common.stream = stream;
      spec.make_parser = [no_memory] { return std::make_unique<FailingParser>(no_memory); };
      spec.requests.push_back({.prompt = {5, 6, 7}, .n = 2});
      spec.requests.back().sampling.max_tokens = 200;
      spec.requests.back().sampling.ignore_eos = true;
      std::make_shared<Job>(server.service(), std::move(spec), call.exchange(), server.scope())->start();
      ASSERT_TRUE(call.wait());
      const int code = no_memory ? 503 : 500;
      EXPECT_EQ(call.status(), stream ? 200 : code);
      EXPECT_NE(call.text().find("\"code\":" + std::to_string(code)), std::string::npos) << call.text();
      if (stream) {
        EXPECT_TRUE(call.text().ends_with("data: [DONE]\n\n")) << call.text();
      }
      EXPECT_EQ(call.text().find("a test asked for"), std::string::npos);
      EXPECT_TRUE(server.engine().wait_idle(std::chrono::seconds(60)));
    }
  }
  EXPECT_EQ(server.engine().stats().kv_blocks_used, 0);
  EXPECT_NE(server.service().metrics().text().find("awq:http_streams 0"), std::string::npos);
  Call call;
  server.post(kChat, open_chat(R"(, "max_tokens": 5)"), call);
  ASSERT_TRUE(call.wait());
  EXPECT_EQ(call.status(), 200) << call.text();
}

TEST(Job, AnExpensiveGrammarIsTheClientsMistake) {
  ServeOptions options;
  options.limits.max_grammar_work = 20000;
  Server server(options);
  for (const bool stream : {false, true}) {
    Call call;
    server.post("/v1/completions",
                R"({"prompt": "x", "min_tokens": 200, "max_tokens": 200,
                    "guided_regex": "qqqqqqqq([a-z]{1,50}){1,50}", "stream": )" +
                    std::string(stream ? "true}" : "false}"),
                call);
    ASSERT_TRUE(call.wait());
    EXPECT_EQ(call.status(), stream ? 200 : 400) << call.text();
    for (const char* part : {"\"code\":400", "\"param\":\"guided_regex\"", "--max-grammar-work"})
      EXPECT_NE(call.text().find(part), std::string::npos) << call.text();
  }
  EXPECT_EQ(server.hits("max-grammar-work"), 2);
}

TEST(Job, ACachedPrefixIsOfOneKeyAlone) {
  Keys keys;
  keys.add("alpha");
  keys.add("beta");
  Server server({}, 256, std::move(keys));
  const auto cached = [&](const std::string& key, const std::string& more = "") {
    Call call;
    server.post("/v1/completions",
                R"({"prompt": [5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22], "max_tokens": 1)" + more + "}", call,
                key);
    EXPECT_TRUE(call.wait());
    EXPECT_EQ(call.status(), 200) << call.text();
    return OrderedJson::parse(call.text())["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  EXPECT_EQ(cached("alpha"), 0);
  EXPECT_EQ(cached("alpha"), 16);
  EXPECT_EQ(cached("beta"), 0);
  EXPECT_EQ(cached("beta"), 16);
  EXPECT_EQ(cached("alpha", R"(, "cache_salt": "x")"), 0);
  EXPECT_EQ(cached("beta", R"(, "cache_salt": "x")"), 0);
}

TEST(WorkerPool, GoesOnAfterATaskThatThrows) {
  std::atomic<int> ran = 0;
  {
    WorkerPool workers(1);
    workers.post([] { throw std::runtime_error("a test asked for it"); });
    workers.post([&] { ++ran; });
  }
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace awq::server
