#pragma once

#include <cstdint>
#include <future>
#include <span>
#include <vector>

#include "file/json.h"
#include "model/model_files.h"
#include "quantize/hidden_states.h"
#include "quantize/journal.h"
#include "quantize/output_writer.h"
#include "quantize/staging.h"

namespace awq::quantize {

/// Saves finished layers in their order: tensors, hidden states, and once they are on the disk the journal's record.
/// With `aside` it works in a thread of its own while the next layer is quantized; what it was given stays as it is
/// until wait() returns.
class LayerSaver {
 public:
  /// `records` gets the journal's record of every layer that is saved.
  LayerSaver(Staging& staging, Journal& journal, OutputWriter& writer, std::vector<file::OrderedJson>& records,
             bool aside)
      : staging_(staging), journal_(journal), writer_(writer), records_(records), aside_(aside) {}
  LayerSaver(const LayerSaver&) = delete;
  LayerSaver& operator=(const LayerSaver&) = delete;
  /// Waits for the layer under way, whose record then counts; its error, if any, is lost.
  ~LayerSaver() = default;

  /// Saves layer `index`, or begins to; none may be under way. `streams` are the hidden states behind it; none: no
  /// other layer needs them.
  void save(std::int64_t index, model::LayerWeights weights, file::OrderedJson record,
            std::span<const HiddenStates> streams);
  /// Waits for the layer under way, if there is one. Throws what went wrong with it.
  void wait();

 private:
  void work(std::int64_t index, const model::LayerWeights& weights, file::OrderedJson& record,
            std::span<const HiddenStates> streams);

  Staging& staging_;
  Journal& journal_;
  OutputWriter& writer_;
  std::vector<file::OrderedJson>& records_;
  bool aside_;
  std::future<file::OrderedJson> saving_;  ///< last, so that it ends before what it uses
};

}  // namespace awq::quantize
