#pragma once

#include <functional>
#include <optional>

#include "awq/bench.h"
#include "bench/peer_result.h"

namespace awq::bench {

/// Another benchmark that takes turns with ours: a shared machine changes its speed within minutes, so only numbers of
/// the same minutes tell two programs apart.
class Against {
 public:
  /// Throws kInvalidArgument for a command that cannot be split into words.
  explicit Against(const BenchOptions& options);

  /// Runs the command once, before ours is loaded: what is wrong with it should show at once.
  void first_turn();
  /// Tests of ours, in the sizes of the peer's: tokens per second.
  using Measure = std::function<double(const PeerTest& test)>;
  /// The first turn of ours, then the others of both; medians.
  BenchAgainst run(const Measure& measure);

 private:
  PeerResult turn(int number);

  const BenchOptions& options_;
  std::vector<std::string> words_;
  std::vector<PeerResult> turns_;
};

}  // namespace awq::bench
