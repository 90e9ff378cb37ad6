#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "awq/chat.h"
#include "awq/generator.h"
#include "awq/runtime.h"
#include "base/check.h"
#include "base/stop.h"
#include "cli/chat_loop.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "file/input_file.h"

namespace awq::cli {
namespace {

constexpr std::uint64_t kMaxPromptBytes = 64 << 20;
constexpr int kPollMilliseconds = 50;
constexpr std::int64_t kChatTokens = 2048;  // an answer ends by itself; this is for one that does not

struct Flags {
  GenerateOptions options;
  bool has_prompt = false;
  std::string prompt_file;
  bool chat = false;
  bool has_max_tokens = false;
  std::string system;
};

/// All of standard input. poll() first, because a read that is waiting would not notice a request to stop.
std::string read_standard_input() {
  std::string text;
  std::array<char, 65536> piece;
  while (true) {
    pollfd wanted{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (poll(&wanted, 1, kPollMilliseconds) < 0 && errno != EINTR) break;
    stop_flag().throw_if_requested();
    if (wanted.revents == 0) continue;
    const ssize_t got = read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0) fail(ErrorCode::kNotFound, "standard input: cannot read: {}", std::strerror(errno));
    if (got == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxPromptBytes) {
      fail(ErrorCode::kCorruptFile, "standard input: expected at most {} bytes of prompt", kMaxPromptBytes);
    }
  }
  return text;
}

int run(Flags& flags, const CommonFlags& common) {
  GenerateOptions& options = flags.options;
  options.threads = common.threads;
  options.device = common.device;
  if (common.device == "cpu" && options.kv_cache_memory_bytes > 0) {
    fail(ErrorCode::kInvalidArgument,
         "--kv-cache-memory-bytes: the processor's cache is as large as the run needs; a device's (--device cuda) is "
         "not");
  }
  if (options.max_tokens < 1) fail(ErrorCode::kInvalidArgument, "-n {}: expected at least 1", options.max_tokens);
  if (flags.chat && !options.prompt_ids.empty()) {
    fail(ErrorCode::kInvalidArgument, "--prompt-ids: not together with --chat, whose template makes the prompt");
  }
  if (!flags.chat && !flags.system.empty()) fail(ErrorCode::kInvalidArgument, "--system: only together with --chat");
  if (flags.chat && !flags.has_max_tokens) options.max_tokens = kChatTokens;
  if (flags.chat && !flags.has_prompt && flags.prompt_file.empty()) return chat_loop(options, flags.system, common);
  if (!flags.prompt_file.empty()) {
    options.prompt = file::read_text_file(flags.prompt_file, kMaxPromptBytes);
  } else if (!flags.has_prompt && options.prompt_ids.empty()) {
    options.prompt = read_standard_input();
  }
  // The prompt is shown with the first piece of text: a run that is refused prints nothing.
  bool prompt_shown = false;
  const auto show = [&](const std::string& piece) {
    if (!prompt_shown && !flags.chat) fmt::print("{}", options.prompt);
    prompt_shown = true;
    fmt::print("{}", piece);
    std::fflush(stdout);
  };
  if (!common.json) options.on_text = show;
  const GenerateSummary s =
      flags.chat ? ChatSession(options, flags.system).say(options.prompt) : generate_text(options);
  const int status = s.finish_reason == "interrupted" ? 128 + requested_stop() : 0;
  if (common.json) {
    file::OrderedJson out;
    out["prompt_tokens"] = s.prompt_tokens;
    out["completion_tokens"] = s.completion_tokens;
    out["text"] = s.text;
    out["token_ids"] = s.token_ids;
    out["finish_reason"] = s.finish_reason;
    out["load_seconds"] = s.load_seconds;
    out["prefill_tokens_per_s"] = s.prefill_tokens_per_s;
    out["decode_tokens_per_s"] = s.decode_tokens_per_s;
    out["peak_rss_bytes"] = s.peak_rss_bytes;
    print_json(out);
    stop_flag().throw_if_requested();
    return 0;
  }
  show("\n");
  print_note(fmt::format("[{} prompt tokens at {:.1f}/s, {} new tokens at {:.1f}/s, loaded in {:.2f} s]",
                         s.prompt_tokens, s.prefill_tokens_per_s, s.completion_tokens, s.decode_tokens_per_s,
                         s.load_seconds));
  stop_flag().throw_if_requested();
  return status;
}

}  // namespace

std::function<int()> add_run(CLI::App& app, CommonFlags& common) {
  auto flags = std::make_shared<Flags>();
  GenerateOptions& o = flags->options;
  app.add_option("model", o.model, "Model folder")->required();
  CLI::Option* prompt = app.add_option("-p,--prompt", o.prompt, "Text to continue (default: standard input)");
  CLI::Option* prompt_file =
      app.add_option("-f,--prompt-file", flags->prompt_file, "File with the text to continue")->excludes(prompt);
  app.add_option("--prompt-ids", o.prompt_ids, "Token ids to continue, as they are")
      ->delimiter(',')
      ->excludes(prompt)
      ->excludes(prompt_file);
  CLI::Option* max_tokens =
      app.add_option("-n,--max-tokens", o.max_tokens, "New tokens at most (--chat: of an answer; 2048 unless given)")
          ->capture_default_str();
  app.add_flag("--chat", flags->chat, "Hold a conversation, by the model's chat template; -p: one message of it");
  app.add_option("--system", flags->system, "System message of --chat");
  app.add_option("--temperature", o.temperature, "0 picks the likeliest token")->capture_default_str();
  app.add_option("--top-k", o.top_k, "Draw among the k likeliest tokens (0: all)")->capture_default_str();
  app.add_option("--top-p", o.top_p, "Draw among the likeliest tokens that hold this share")->capture_default_str();
  app.add_option("--min-p", o.min_p, "Drop tokens less likely than this share of the likeliest")->capture_default_str();
  app.add_option("--repetition-penalty", o.repetition_penalty, "Above 1 makes repeats less likely")
      ->capture_default_str();
  app.add_option("--stop", o.stop, "End before this text; may be given again")->allow_extra_args(false);
  app.add_option("--seed", o.seed, "Of the draws")->capture_default_str()->check(refuse_sign, "");
  add_threads_decode_flag(app, o.threads_decode);
  app.add_option("--activations", o.activations,
                 "Inputs of linears: int8 (bf16 for BF16 weights and in attention), int15 (those as they are) or f32")
      ->capture_default_str();
  app.add_option("--head", o.head, "Output matrix: as stored, or rounded to int8 at load")->capture_default_str();
  app.add_flag("--ignore-eos", o.ignore_eos, "Go on after an end-of-sequence token");
  add_kv_dtype_flag(app, o.kv_dtype);
  add_device_memory_flags(app, o.gpu_memory_utilization, o.kv_cache_memory_bytes);
  add_dtype_flag(app, o.dtype);
  add_cuda_linear_flag(app, o.cuda_linear);
  app.add_option("--spec-ngram", o.spec_ngram, "Tokens guessed per step from earlier text; the output stays the same")
      ->capture_default_str();
  return [flags, &common, prompt, max_tokens] {
    flags->has_max_tokens = max_tokens->count() > 0;
    flags->has_prompt = prompt->count() > 0;
    return run(*flags, common);
  };
}

}  // namespace awq::cli
