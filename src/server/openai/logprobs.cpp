#include "server/openai/logprobs.h"

#include <algorithm>

namespace awq::server {
namespace {

// JSON has no infinities; this is what clients of vLLM see for impossible tokens.
constexpr double kFloor = -9999.0;

double shown(float logprob) { return std::max(static_cast<double>(logprob), kFloor); }

OrderedJson bytes_of(const std::string& text) {
  OrderedJson out = OrderedJson::array();
  for (const char c : text) out.push_back(static_cast<unsigned char>(c));
  return out;
}

OrderedJson chat_token(const engine::TokenLogprob& token, const TokenTexts& texts, bool as_ids) {
  const std::string text = texts.text(token.id, as_ids);
  return {{"token", text}, {"logprob", shown(token.logprob)}, {"bytes", bytes_of(text)}};
}

std::span<const engine::TokenLogprob> shown_top(const LogprobEntry& entry, std::int64_t count) {
  const std::span<const engine::TokenLogprob> all(entry.top);
  return count < 0 || entry.named ? all : all.first(std::min(all.size(), static_cast<std::size_t>(count)));
}

}  // namespace

OrderedJson chat_logprobs(std::span<const LogprobEntry> entries, std::int64_t count, const TokenTexts& texts,
                          bool as_ids) {
  OrderedJson content = OrderedJson::array();
  for (const LogprobEntry& entry : entries) {
    if (!entry.own) continue;
    OrderedJson token = chat_token(*entry.own, texts, as_ids);
    OrderedJson top = OrderedJson::array();
    for (const engine::TokenLogprob& other : shown_top(entry, count)) top.push_back(chat_token(other, texts, as_ids));
    token["top_logprobs"] = std::move(top);
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}};
}

OrderedJson completion_logprobs(std::span<const LogprobEntry> entries, std::int64_t count, const TokenTexts& texts,
                                bool as_ids, std::int64_t& offset) {
  OrderedJson tokens = OrderedJson::array(), own = OrderedJson::array(), top = OrderedJson::array(),
              offsets = OrderedJson::array();
  for (const LogprobEntry& entry : entries) {
    const std::string text = texts.text(entry.id, as_ids);
    tokens.push_back(text);
    offsets.push_back(offset);
    offset += count_characters(text);
    if (!entry.own) {
      own.push_back(nullptr);
      top.push_back(nullptr);
      continue;
    }
    own.push_back(shown(entry.own->logprob));
    // The token itself is always among them. Several tokens can have the same text: the likeliest keeps it.
    OrderedJson by_text = OrderedJson::object();
    for (const engine::TokenLogprob& other : shown_top(entry, count)) {
      const std::string name = texts.text(other.id, as_ids);
      if (!by_text.contains(name)) by_text[name] = shown(other.logprob);
    }
    if (!by_text.contains(text)) by_text[text] = shown(entry.own->logprob);
    top.push_back(std::move(by_text));
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(own)},
          {"tokens", std::move(tokens)},
          {"top_logprobs", std::move(top)}};
}

OrderedJson prompt_logprobs(std::span<const LogprobEntry> entries, const TokenTexts& texts) {
  OrderedJson out = OrderedJson::array();
  for (const LogprobEntry& entry : entries) {
    if (!entry.own) {
      out.push_back(nullptr);
      continue;
    }
    OrderedJson by_id = OrderedJson::object();
    const auto add = [&](const engine::TokenLogprob& token) {
      by_id[std::to_string(token.id)] = {
          {"logprob", shown(token.logprob)}, {"rank", token.rank}, {"decoded_token", texts.text(token.id)}};
    };
    add(*entry.own);
    for (const engine::TokenLogprob& other : entry.top) {
      if (other.id != entry.own->id) add(other);
    }
    out.push_back(std::move(by_id));
  }
  return out;
}

}  // namespace awq::server
