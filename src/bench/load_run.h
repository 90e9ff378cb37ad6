#pragma once

#include <span>

#include "awq/load.h"
#include "bench/load_client.h"

namespace awq::bench {

/// Percentiles by nearest rank, of seconds into milliseconds.
LoadTimes times_of(std::vector<double> seconds);
/// What all clients of a measurement saw.
LoadPoint summarize(std::int64_t concurrency, std::int64_t prompt_tokens, std::span<const StreamedAnswer> answers);
/// The JSON of request number `index`.
std::string request_body(const LoadOptions& options, const std::string& model, std::uint64_t index);
/// Everything of `awq bench-serve`.
LoadSummary load_server(const LoadOptions& options);

}  // namespace awq::bench
