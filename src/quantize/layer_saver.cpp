#include "quantize/layer_saver.h"

#include <utility>

#include "base/check.h"
#include "ops/gemm.h"

namespace awq::quantize {

void LayerSaver::save(std::int64_t index, model::LayerWeights weights, file::OrderedJson record,
                      std::span<const HiddenStates> streams) {
  AWQ_CHECK(!saving_.valid());
  const auto work = [this, index, streams](const model::LayerWeights& layer, file::OrderedJson& of_journal) {
    staging_.check_ours();  // files are opened by their names
    writer_.write_layer(index, layer);
    if (!streams.empty()) of_journal["hidden_sha256"] = write_hidden(staging_.hidden(index), streams);
    writer_.sync();
    journal_.append(of_journal);
  };
  if (!aside_) {
    work(weights, record);
    std::promise<file::OrderedJson> done;
    done.set_value(std::move(record));
    saving_ = done.get_future();
    return;
  }
  saving_ =
      std::async(std::launch::async, [work, layer = std::move(weights), of_journal = std::move(record)]() mutable {
        ops::adopt_threads();
        work(layer, of_journal);
        layer = {};  // its memory is for the next one
        return std::move(of_journal);
      });
}

void LayerSaver::wait(std::vector<file::OrderedJson>& records) {
  if (saving_.valid()) records.push_back(saving_.get());
}

}  // namespace awq::quantize
