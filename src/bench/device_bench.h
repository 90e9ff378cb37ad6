#pragma once

#include "awq/bench.h"
#include "model/model_files.h"

namespace awq::bench {

/// The measurements of `awq bench --device cuda`: the device's copy loop and matrix product, then prefill and decode of
/// the model, each step from ids on the host to the picked ids on the host. With `random` all layers have the weights
/// of the first one, in memory of their own. Fills `out`.
void run_on_device(int device, const model::WeightSource& source, bool random, const BenchOptions& options,
                   BenchSummary& out);

}  // namespace awq::bench
