#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace awq::model {

/// A whole model resident in memory: embedding, layers, head.
class LanguageModel {
 public:
  /// Throws kOutOfMemory as soon as the first layer shows that the others will not fit.
  /// `int8_head` rounds the output matrix to 8 bits, half of what a token reads of it; the embedding stays as stored.
  explicit LanguageModel(const WeightSource& source, bool int8_head = false);

  const ModelConfig& config() const { return config_; }
  std::span<const DecoderLayer> layers() const { return layers_; }
  const ops::Linear& head() const { return head_; }
  /// Runs a flat batch: `ids` are the new tokens of all slices. Advances the caches. Throws kInvalidArgument for an id
  /// outside of the vocabulary. One token of every sequence is decoding, for which there may be other threads
  /// (ops::configure_threads); logits() then has them too.
  void run(std::span<const std::int32_t> ids, std::span<const SequenceSlice> slices, const KvPool* pool = nullptr);
  /// Logits [tokens.size(), vocab_size] after the given tokens (indices into ids) of the last run(), which have to be
  /// among the results of their slices. Valid until the next call; the caller may overwrite them.
  std::span<float> logits(std::span<const std::int64_t> tokens);
  /// Both: the logits of each slice's last token, or of every token when `all` is set.
  std::span<const float> forward(std::span<const std::int32_t> ids, std::span<const SequenceSlice> slices,
                                 bool all = false, const KvPool* pool = nullptr);
  /// Allocates what batches of up to `tokens` tokens of `sequences` sequences of up to `length`, and logits of `rows`
  /// of them, need.
  void reserve(std::int64_t tokens, std::int64_t sequences, std::int64_t length, std::int64_t rows);
  /// The part of it that belongs to the calling thread: what products need (ops::Linear::reserve).
  void reserve_products(std::int64_t tokens, std::int64_t rows) const;
  /// Decoder::set_row_invariant(), the head included.
  void set_row_invariant(bool on) { decoder_.set_row_invariant(on); }
  /// Bytes of weights that one token reads.
  std::uint64_t bytes_per_token() const;

 private:
  ModelConfig config_;
  Decoder decoder_;
  std::vector<DecoderLayer> layers_;
  AlignedBuffer<float> final_norm_;
  ops::Linear head_;
  ops::Linear embedding_;  ///< empty when the head serves as the embedding
  AlignedBuffer<float> hidden_, last_, logits_;
  std::vector<std::int64_t> rows_;
  std::vector<std::uint8_t> has_result_;  ///< of each token of the last run()
};

}  // namespace awq::model
