#include "quantize/layer_saver.h"

#include <utility>

#include "base/check.h"
#include "ops/gemm.h"

namespace awq::quantize {

void LayerSaver::work(std::int64_t index, const model::LayerWeights& weights, file::OrderedJson& record,
                      std::span<const HiddenStates> streams) {
  staging_.check_ours();  // files are opened by their names
  writer_.write_layer(index, weights);
  if (!streams.empty()) record["hidden_sha256"] = write_hidden(staging_.hidden(index), streams);
  writer_.sync();
  journal_.append(record);
}

void LayerSaver::save(std::int64_t index, model::LayerWeights weights, file::OrderedJson record,
                      std::span<const HiddenStates> streams) {
  AWQ_CHECK(!saving_.valid());
  if (!aside_) {
    work(index, weights, record, streams);
    records_.push_back(std::move(record));
    return;
  }
  saving_ = std::async(std::launch::async,
                       [this, index, streams, layer = std::move(weights), of_journal = std::move(record)]() mutable {
                         ops::adopt_threads();
                         work(index, layer, of_journal, streams);
                         layer = {};  // its memory is for the next one
                         return std::move(of_journal);
                       });
}

void LayerSaver::wait() {
  if (saving_.valid()) records_.push_back(saving_.get());
}

}  // namespace awq::quantize
