#include <gtest/gtest.h>

#include <functional>

#include "awq/error.h"
#include "server/openai/chat_fields.h"
#include "server/openai/completion_fields.h"

namespace awq::server {
namespace {

CommonFields common(const std::string& more, const GenerationDefaults& defaults = {}, const ServeLimits& limits = {}) {
  return read_completion(parse_body(R"({"prompt": "x")" + more + "}", limits), limits, defaults).common;
}

/// The field that a request is refused for; "" when it is taken.
std::string refused(const std::string& more, const ServeLimits& limits = {}) {
  try {
    common(more, {}, limits);
    return "";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 400) << more;
    EXPECT_NE(error.message().find(error.param()), std::string::npos) << error.message();
    return error.param().empty() ? "?" : error.param();
  }
}

std::string refused_chat(const std::string& more, const ServeLimits& limits = {}) {
  try {
    read_chat(parse_body(R"({"messages": [{"role": "user", "content": "x"}])" + more + "}", limits), limits, {});
    return "";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 400) << more;
    return error.param().empty() ? "?" : error.param();
  }
}

TEST(CompletionFields, Defaults) {
  const CommonFields f = common("");
  EXPECT_EQ(f.sampling.temperature, 1);
  EXPECT_EQ(f.sampling.top_p, 1);
  EXPECT_EQ(f.sampling.top_k, 0);
  EXPECT_EQ(f.n, 1);
  EXPECT_FALSE(f.stream);
  EXPECT_FALSE(f.seed.has_value());
  const ServeLimits limits;
  EXPECT_EQ(read_completion(parse_body(R"({"prompt": "x", "max_tokens": null})", limits), limits, {}).max_tokens, 16);
}

TEST(CompletionFields, ConstraintsAreTakenUnderTheNamesOfLlamaServer) {
  using Kind = ConstraintSpec::Kind;
  const auto read = [](const std::string& more) { return common(more).constraint; };
  EXPECT_EQ(read(R"(, "grammar": "root ::= \"a\"")").kind, Kind::kGrammar);
  EXPECT_EQ(read(R"(, "grammar": "root ::= \"a\"")").field, "grammar");
  EXPECT_EQ(read(R"(, "grammar": "")").kind, Kind::kNone);
  EXPECT_EQ(read(R"(, "json_schema": {"type": "integer"})").kind, Kind::kJsonSchema);
  for (const char* type : {"json_object", "json_schema"}) {
    const ConstraintSpec spec =
        read(R"(, "response_format": {"type": ")" + std::string(type) + R"(", "schema": {"type": "integer"}})");
    EXPECT_EQ(spec.kind, Kind::kJsonSchema);
    EXPECT_EQ(spec.schema, (OrderedJson{{"type", "integer"}}));
  }
  EXPECT_EQ(read(R"(, "response_format": {"type": "json_object"})").kind, Kind::kJsonObject);
  EXPECT_EQ(refused(R"(, "grammar": 5)"), "grammar");
  EXPECT_EQ(refused(R"(, "json_schema": 5)"), "json_schema");
  EXPECT_EQ(refused(R"(, "response_format": {"type": "json_object", "schema": 5})"), "response_format.schema");
  EXPECT_EQ(refused(R"(, "grammar": "root ::= \"a\"", "json_schema": {})"), "structured_outputs");
}

TEST(CompletionFields, RequestThenModelThenBuiltIn) {
  GenerationDefaults defaults;
  merge_defaults(defaults, OrderedJson{{"temperature", 0.5}, {"top_k", 7}, {"other", "x"}}, "file");
  merge_defaults(defaults, OrderedJson{{"top_k", 9}}, "flag");
  EXPECT_EQ(common("", defaults).sampling.temperature, 0.5);
  EXPECT_EQ(common("", defaults).sampling.top_k, 9);
  EXPECT_EQ(common(R"(, "temperature": 0.25)", defaults).sampling.temperature, 0.25);
  EXPECT_EQ(common(R"(, "temperature": null)", defaults).sampling.temperature, 0.5);
  EXPECT_THROW(merge_defaults(defaults, OrderedJson{{"temperature", "hot"}}, "file"), Error);
}

TEST(CompletionFields, TakesWhatClientsSend) {
  for (
      const char* more : {
          R"(, "temperature": 0)",
          R"(, "temperature": 2)",
          R"(, "top_k": -1)",
          R"(, "max_tokens": 16.0)",
          R"(, "stop": "a")",
          R"(, "stop": ["a", "b"])",
          R"(, "seed": -1)",
          R"(, "best_of": 1)",
          R"(, "suffix": "")",
          R"(, "logit_bias": {"5": -1000, "6": 1000})",
          R"(, "unknown": {"a": [1]})",
          R"(, "user": "u")",
          R"(, "stream": true, "stream_options": {"include_usage": true})",
          R"(, "response_format": {"type": "text"})",
          R"(, "structured_outputs": {"choice": ["a", "b"]})",
          R"(, "guided_regex": "a+")",
          R"(, "priority": 0)",
          R"(, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}})",
          R"(, "logprobs": 0)",
          R"(, "n": 3)",
          R"(, "use_beam_search": false)",
          R"(, "truncate_prompt_tokens": -1)",
          R"(, "max_tokens": 0, "echo": true)",
          R"(, "repeat_penalty": 1.1)",
          R"(, "cache_salt": "s")",
          R"(, "logprobs": 1, "logprob_token_ids": [3, 3, 0])",
          R"(, "logprob_token_ids": [])",
          R"(, "repetition_detection": {})",
          R"(, "repetition_detection": {"max_pattern_size": 4, "min_pattern_size": 0, "min_count": 2})",
          R"(, "request_id": "a-b/c:1")",
      }) {
    EXPECT_EQ(refused(more), "") << more;
  }
  EXPECT_EQ(common(R"(, "logit_bias": {"5": -1000})").sampling.bias.at(0).second, -100);
  EXPECT_EQ(common(R"(, "repeat_penalty": 1.25)").sampling.repetition_penalty, 1.25);
}

TEST(CompletionFields, NamesTheFieldThatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(, "temperature": -0.1)", "temperature"},
      {R"(, "temperature": 2.1)", "temperature"},
      {R"(, "temperature": "hot")", "temperature"},
      {R"(, "temperature": true)", "temperature"},
      {R"(, "temperature": 1e999)", "?"},
      {R"(, "top_p": 0)", "top_p"},
      {R"(, "top_p": 1.01)", "top_p"},
      {R"(, "top_k": -2)", "top_k"},
      {R"(, "top_k": 1.5)", "top_k"},
      {R"(, "min_p": -0.1)", "min_p"},
      {R"(, "repetition_penalty": 0)", "repetition_penalty"},
      {R"(, "presence_penalty": 2.5)", "presence_penalty"},
      {R"(, "frequency_penalty": -2.5)", "frequency_penalty"},
      {R"(, "logit_bias": {"x": 1})", "logit_bias"},
      {R"(, "logit_bias": {"-1": 1})", "logit_bias"},
      {R"(, "logit_bias": {"1": "x"})", "logit_bias"},
      {R"(, "logit_bias": [1])", "logit_bias"},
      {R"(, "seed": 1.5)", "seed"},
      {R"(, "logprob_token_ids": [1])", "logprob_token_ids"},
      {R"(, "logprobs": 1, "logprob_token_ids": [-1])", "logprob_token_ids"},
      {R"(, "logprobs": 1, "logprob_token_ids": [1], "max_tokens": 0, "echo": true)", "logprob_token_ids"},
      {R"(, "repetition_detection": 3)", "repetition_detection"},
      {R"(, "repetition_detection": {"max_pattern_size": 2})", "repetition_detection.min_count"},
      {R"(, "repetition_detection": {"max_pattern_size": 2, "min_count": 1})", "repetition_detection.min_count"},
      {R"(, "repetition_detection": {"max_pattern_size": 2000, "min_count": 2})",
       "repetition_detection.max_pattern_size"},
      {R"(, "repetition_detection": {"max_pattern_size": 2, "min_pattern_size": 3, "min_count": 2})",
       "repetition_detection.min_pattern_size"},
      {R"(, "request_id": "two words")", "request_id"},
      {R"(, "request_id": "")", "request_id"},
      {R"(, "thinking_token_budget": 5)", "thinking_token_budget"},
      {R"(, "n": 0)", "n"},
      {R"(, "n": 2, "temperature": 0)", "n"},
      {R"(, "best_of": 2)", "best_of"},
      {R"(, "stop": "")", "stop"},
      {R"(, "stop": [1])", "stop"},
      {R"(, "stop_token_ids": ["a"])", "stop_token_ids"},
      {R"(, "min_tokens": -1)", "min_tokens"},
      {R"(, "bad_words": [""])", "bad_words"},
      {R"(, "allowed_token_ids": [])", "allowed_token_ids"},
      {R"(, "truncate_prompt_tokens": -2)", "truncate_prompt_tokens"},
      {R"(, "prompt_logprobs": 1, "stream": true)", "prompt_logprobs"},
      {R"(, "prompt_logprobs": -1)", "prompt_logprobs"},
      {R"(, "use_beam_search": true)", "use_beam_search"},
      {R"(, "stream_options": {"include_usage": true})", "stream_options"},
      {R"(, "stream": "yes")", "stream"},
      {R"(, "stream_interval": 0)", "stream_interval"},
      {R"(, "priority": 1)", "priority"},
      {R"(, "cache_salt": "")", "cache_salt"},
      {R"(, "max_tokens": 0)", "max_tokens"},
      {R"(, "max_tokens": -1)", "max_tokens"},
      {R"(, "suffix": "x")", "suffix"},
      {R"(, "logprobs": true)", "logprobs"},
      {R"(, "response_format": {"type": "structural_tag"})", "response_format.type"},
      {R"(, "response_format": {"type": "xml"})", "response_format.type"},
      {R"(, "response_format": {"type": "json_schema"})", "response_format.json_schema"},
      {R"(, "structured_outputs": {})", "structured_outputs"},
      {R"(, "structured_outputs": {"regex": "a", "choice": ["a"]})", "structured_outputs"},
      {R"(, "structured_outputs": {"regex": "a"}, "guided_choice": ["a"])", "structured_outputs"},
      {R"(, "structured_outputs": {"structural_tag": "x"})", "structured_outputs.structural_tag"},
      {R"(, "guided_choice": [])", "guided_choice"},
      {R"(, "model": 5)", "model"},
  };
  for (const auto& [more, field] : cases) EXPECT_EQ(refused(more), field) << more;
}

TEST(CompletionFields, Prompts) {
  const ServeLimits limits;
  const auto prompts = [&](const std::string& prompt) {
    return read_completion(parse_body("{\"prompt\": " + prompt + "}", limits), limits, {}).prompts;
  };
  EXPECT_EQ(prompts(R"("a")").at(0).text, "a");
  EXPECT_EQ(prompts(R"(["a", "b"])").size(), 2U);
  EXPECT_EQ(prompts("[1, 2]").at(0).ids, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(prompts("[[1], [2, 3]]").at(1).ids.size(), 2U);
  for (const char* bad :
       {"[]", "[[]]", "[1, \"a\"]", "[-1]", "[1.5]", "[99999999999]", "{}", "5", "null", "[[\"a\"]]"}) {
    EXPECT_THROW(prompts(bad), ApiError) << bad;
  }
}

TEST(ChatFields, NamesTheFieldThatIsWrong) {
  const std::string tools = R"(, "tools": [{"type": "function", "function": {"name": "f"}}])";
  for (const std::string& more : {
           std::string(),
           tools,
           tools + R"(, "tool_choice": "required")",
           tools + R"(, "tool_choice": "none")",
           tools + R"(, "tool_choice": {"type": "function", "function": {"name": "f"}})",
           std::string(R"(, "tool_choice": "none")"),
           std::string(R"(, "logprobs": true, "top_logprobs": 5)"),
           std::string(R"(, "continue_final_message": true)"),
           std::string(R"(, "max_completion_tokens": 5, "max_tokens": 0)"),
       }) {
    EXPECT_EQ(refused_chat(more), "") << more;
  }
  const std::pair<std::string, const char*> cases[] = {
      {R"(, "tools": [])", "tools"},
      {R"(, "tools": [{"type": "x"}])", "tools[0].type"},
      {R"(, "tools": [{"type": "function"}])", "tools[0].function"},
      {R"(, "tools": [{"type": "function", "function": {"name": ""}}])", "tools[0].function.name"},
      {R"(, "tool_choice": "auto")", "tool_choice"},
      {tools + R"(, "tool_choice": "always")", "tool_choice"},
      {tools + R"(, "tool_choice": {"function": {"name": "g"}})", "tool_choice"},
      {R"(, "top_logprobs": 3)", "top_logprobs"},
      {R"(, "logprobs": 3)", "logprobs"},
      {R"(, "logprobs": true, "top_logprobs": -2)", "top_logprobs"},
      {R"(, "max_tokens": 0)", "max_tokens"},
      {R"(, "max_completion_tokens": 0)", "max_completion_tokens"},
      {R"(, "continue_final_message": true, "add_generation_prompt": true)", "continue_final_message"},
      {R"(, "chat_template": "{{ 1 }}")", "chat_template"},
      {R"(, "echo": true)", "echo"},
  };
  for (const auto& [more, field] : cases) EXPECT_EQ(refused_chat(more), field) << more;
}

TEST(ChatFields, Messages) {
  const ServeLimits limits;
  const auto read = [&](const std::string& messages) {
    return read_chat(parse_body("{\"messages\": " + messages + "}", limits), limits, {}).messages;
  };
  EXPECT_EQ(read(R"([{"role": "user", "content": [{"type": "text", "text": "a"}]}])")[0]["content"][0]["text"], "a");
  EXPECT_EQ(
      read(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}])")[0]["content"],
      "");
  for (const char* bad : {
           "[]",
           "[5]",
           R"([{"content": "x"}])",
           R"([{"role": "king", "content": "x"}])",
           R"([{"role": "user"}])",
           R"([{"role": "user", "content": 5}])",
           R"([{"role": "user", "content": [{"type": "image_url"}]}])",
           R"([{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]}])",
           R"([{"role": "assistant", "tool_calls": [{}]}])",
           R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])",
       }) {
    EXPECT_THROW(read(bad), ApiError) << bad;
  }
}

/// Every limit on a request's content, with the smallest setting and a request just beyond it.
TEST(RequestLimits, EachIsKept) {
  struct Case {
    LimitField field;
    std::int64_t value;
    const char* more;
    bool chat = false;
  };
  const Case cases[] = {
      {&ServeLimits::max_n, 2, R"(, "n": 3)"},
      {&ServeLimits::max_choices_per_request, 3, R"(, "prompt": ["a", "b"], "n": 2)"},
      {&ServeLimits::max_choices_per_request, 3, R"(, "n": 4)", true},
      {&ServeLimits::max_json_values, 16, R"(, "prompt": ["a", "b", "c"], "allowed_token_ids": [1, 2, 3, 4, 5, 6])"},
      {&ServeLimits::max_logprobs, 2, R"(, "logprobs": 3)"},
      {&ServeLimits::max_logprobs, 2, R"(, "logprobs": true, "top_logprobs": 3)", true},
      {&ServeLimits::max_stop_strings, 1, R"(, "stop": ["a", "b"])"},
      {&ServeLimits::max_stop_bytes, 3, R"(, "stop": "abcd")"},
      {&ServeLimits::max_stop_token_ids, 1, R"(, "stop_token_ids": [1, 2])"},
      {&ServeLimits::max_logit_bias, 1, R"(, "logit_bias": {"1": 1, "2": 1})"},
      {&ServeLimits::max_bad_words, 1, R"(, "bad_words": ["a", "b"])"},
      {&ServeLimits::max_prompts, 1, R"(, "prompt": ["a", "b"])"},
      {&ServeLimits::max_tools, 0, R"(, "tools": [{"type": "function", "function": {"name": "f"}}])", true},
      {&ServeLimits::max_messages, 1,
       R"(, "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "a"}])", true},
      {&ServeLimits::max_schema_bytes, 10, R"(, "guided_json": {"type": "object", "description": "long"})"},
      {&ServeLimits::max_schema_bytes, 10,
       R"(, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])", true},
      {&ServeLimits::max_pattern_bytes, 3, R"(, "guided_regex": "abcd")"},
      {&ServeLimits::max_grammar_bytes, 3, R"(, "guided_grammar": "abcd")"},
      {&ServeLimits::max_choices, 1, R"(, "guided_choice": ["a", "b"])"},
      {&ServeLimits::max_json_depth, 4, R"(, "x": [[[[1]]]])"},
      {&ServeLimits::max_json_values, 16, R"(, "x": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17])"},
  };
  for (const Case& c : cases) {
    ServeLimits limits;
    limits.*c.field = c.value;
    std::string body = c.more + 2;  // without the leading ", "
    const bool has_prompt = body.starts_with("\"prompt\"") || body.starts_with("\"messages\"");
    body = "{" + body +
           (has_prompt ? "}"
            : c.chat   ? R"(, "messages": [{"role": "user", "content": "x"}]})"
                       : R"(, "prompt": "x"})");
    const auto read = [&](const ServeLimits& used) -> LimitField {
      try {
        const OrderedJson json = parse_body(body, used);
        if (c.chat) {
          read_chat(json, used, {});
        } else {
          read_completion(json, used, {});
        }
      } catch (const ApiError& error) {
        EXPECT_EQ(error.status(), limit_info(c.field).status);
        return error.limit();
      }
      return nullptr;
    };
    EXPECT_EQ(read(limits), c.field) << body;
    EXPECT_EQ(read(ServeLimits{}), nullptr) << body;
  }
}

TEST(RequestLimits, TheTableIsWhole) {
  const ServeLimits defaults;
  for (const ServeLimitInfo& row : serve_limits()) {
    EXPECT_LE(row.min, defaults.*row.field) << row.name;
    EXPECT_GE(row.max, defaults.*row.field) << row.name;
    ServeLimits beyond;
    beyond.*row.field = row.max + 1;
    EXPECT_THROW(check_limits(beyond), Error) << row.name;
    beyond.*row.field = row.min - 1;
    EXPECT_THROW(check_limits(beyond), Error) << row.name;
  }
  EXPECT_EQ(serve_limits().size() * sizeof(std::int64_t), sizeof(ServeLimits));  // a row for every field
  EXPECT_NO_THROW(check_limits(defaults));
}

}  // namespace
}  // namespace awq::server
