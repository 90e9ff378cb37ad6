#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace awq::bench {

/// One number of another benchmark: a prompt of `tokens` tokens, or so many decoded one after the other behind `depth`.
struct PeerTest {
  bool decode = false;
  std::int64_t tokens = 0;
  std::int64_t depth = 0;
  double tokens_per_s = 0;
  bool same_test(const PeerTest& other) const {
    return decode == other.decode && tokens == other.tokens && depth == other.depth;
  }
};

struct PeerResult {
  std::string name;  ///< what the benchmark says it ran, printable
  std::vector<PeerTest> tests;
};

/// Numbers of tokens where a result does not tell them.
struct PeerSizes {
  std::int64_t prompt = 0, gen = 0, depth = 0;
};

/// Reads what llama-bench prints with `-o json` (an array; of each test n_prompt, n_gen, n_depth and avg_ts), or the
/// object of `awq bench --json`. Tests of a prompt and decoding together, and prompts behind a depth, are left out.
/// Throws kCorruptFile for anything else, and when no test is left.
PeerResult parse_peer_result(std::string_view text, const PeerSizes& sizes);

}  // namespace awq::bench
