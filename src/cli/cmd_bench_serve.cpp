#include <fmt/format.h>

#include <memory>

#include "awq/load.h"
#include "cli/commands.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

file::OrderedJson times_json(const LoadTimes& t) {
  return {{"mean", t.mean}, {"p50", t.p50}, {"p90", t.p90}, {"p99", t.p99}, {"max", t.max}};
}

file::OrderedJson to_json(const LoadSummary& s) {
  file::OrderedJson out;
  out["model"] = s.model;
  out["points"] = file::OrderedJson::array();
  for (const LoadPoint& p : s.points) {
    file::OrderedJson point;
    point["concurrency"] = p.concurrency;
    point["rate"] = p.rate;
    point["requests"] = p.requests;
    point["errors"] = file::OrderedJson::object();
    for (const auto& [reason, count] : p.errors) point["errors"][reason] = count;
    point["seconds"] = p.seconds;
    point["requests_per_s"] = p.requests_per_s;
    point["output_tokens"] = p.output_tokens;
    point["output_tokens_per_s"] = p.output_tokens_per_s;
    point["total_tokens_per_s"] = p.total_tokens_per_s;
    point["first_token_ms"] = times_json(p.first_token);
    point["between_tokens_ms"] = times_json(p.between_tokens);
    point["whole_ms"] = times_json(p.whole);
    out["points"].push_back(std::move(point));
  }
  return out;
}

void print_table(const LoadSummary& s) {
  fmt::print("{}\n{:>8} {:>7} {:>9} {:>7} {:>9} {:>10} {:>10} | {:>9} {:>9} | {:>9} {:>9}\n", s.model, "clients",
             "rate", "answers", "errors", "req/s", "output/s", "all tok/s", "first p50", "p99 ms", "next p50",
             "p99 ms");
  for (const LoadPoint& p : s.points) {
    std::int64_t errors = 0;
    for (const auto& [reason, count] : p.errors) errors += count;
    const std::string rate = p.rate > 0 ? fmt::format("{:g}", p.rate) : "-";
    fmt::print("{:>8} {:>7} {:>9} {:>7} {:>9.2f} {:>10.1f} {:>10.1f} | {:>9.1f} {:>9.1f} | {:>9.2f} {:>9.2f}\n",
               p.concurrency, rate, p.requests, errors, p.requests_per_s, p.output_tokens_per_s, p.total_tokens_per_s,
               p.first_token.p50, p.first_token.p99, p.between_tokens.p50, p.between_tokens.p99);
    for (const auto& [reason, count] : p.errors) fmt::print("{:>8} {} x {}\n", "", count, reason);
  }
}

int run(LoadOptions& options, const CommonFlags& common) {
  options.on_stage = [](const std::string& text) { print_note(text); };
  const LoadSummary s = bench_server(options);
  if (common.json) {
    print_json(to_json(s));
  } else {
    print_table(s);
  }
  return 0;
}

}  // namespace

std::function<int()> add_bench_serve(CLI::App& app, CommonFlags& common) {
  auto options = std::make_shared<LoadOptions>();
  LoadOptions& o = *options;
  app.add_option("url", o.url,
                 "http://host:port of a server with /v1/completions (key: AWQ_API_KEY in the environment)")
      ->required();
  app.add_option("--model", o.model, "Name in the requests (default: the first of /v1/models)");
  app.add_option("--concurrency", o.concurrency, "Clients that ask at the same time; one measurement for each number")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option(
         "--rate", o.rate,
         "Requests per second at random moments, by at most --concurrency clients (0: each asks again at once); "
         "one measurement for each number")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option("--requests", o.requests, "In each measurement (0: four per client, at least 16)")
      ->capture_default_str();
  app.add_option("--prompt", o.prompt_tokens, "Tokens of a prompt")->capture_default_str();
  app.add_option("--shared-prefix", o.shared_prefix_tokens, "Of them, the same in every prompt")->capture_default_str();
  app.add_option("--gen", o.output_tokens, "Tokens of an answer")->capture_default_str();
  app.add_option("--ids-below", o.token_ids_below, "Prompts are random token ids below this")->capture_default_str();
  app.add_option("--timeout", o.timeout_seconds, "Seconds for one request")->capture_default_str();
  app.add_option("--seed", o.seed, "Of prompts and moments")->capture_default_str()->check(refuse_sign, "");
  app.add_flag("--allow-remote", o.allow_remote, "Load a server on another machine");
  return [options, &common] { return run(*options, common); };
}

}  // namespace awq::cli
