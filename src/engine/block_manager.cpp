#include "engine/block_manager.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace awq::engine {
namespace {

/// SipHash-1-3 (Aumasson, Bernstein 2012) over 64-bit words.
class SipHash {
 public:
  explicit SipHash(HashKey key)
      : v0_(key.low ^ 0x736f6d6570736575ULL),
        v1_(key.high ^ 0x646f72616e646f6dULL),
        v2_(key.low ^ 0x6c7967656e657261ULL),
        v3_(key.high ^ 0x7465646279746573ULL) {}

  void add(std::uint64_t word) {
    v3_ ^= word;
    round();
    v0_ ^= word;
  }
  std::uint64_t finish() {
    v2_ ^= 0xff;
    for (int i = 0; i < 3; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void round() {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }
  std::uint64_t v0_, v1_, v2_, v3_;
};

std::size_t at(std::int32_t block) { return static_cast<std::size_t>(block); }

}  // namespace

BlockManager::BlockManager(std::int64_t block_count, std::int64_t block_size, HashKey key)
    : block_size_(block_size), key_(key) {
  AWQ_CHECK(block_count > 0 && block_count < INT32_MAX && block_size > 0);
  const auto count = static_cast<std::size_t>(block_count);
  references_.assign(count, 0);
  previous_free_.assign(count + 1, static_cast<std::int32_t>(count));
  next_free_.assign(count + 1, static_cast<std::int32_t>(count));
  entries_.resize(count);
  tokens_.assign(count * static_cast<std::size_t>(block_size), 0);
  buckets_.assign(std::bit_ceil(count * 2), -1);
  for (std::int32_t block = 0; block < block_count; ++block) append_free(block);
}

void BlockManager::append_free(std::int32_t block) {
  const std::size_t anchor = references_.size();
  const std::int32_t last = previous_free_[anchor];
  previous_free_[at(block)] = last;
  next_free_[at(block)] = static_cast<std::int32_t>(anchor);
  next_free_[at(last)] = block;
  previous_free_[anchor] = block;
  ++free_count_;
}

void BlockManager::remove_free(std::int32_t block) {
  next_free_[at(previous_free_[at(block)])] = next_free_[at(block)];
  previous_free_[at(next_free_[at(block)])] = previous_free_[at(block)];
  --free_count_;
}

std::int32_t BlockManager::allocate() {
  if (free_count_ == 0) return -1;
  const std::int32_t block = next_free_[references_.size()];
  remove_free(block);
  forget(block);
  references_[at(block)] = 1;
  return block;
}

void BlockManager::add_reference(std::int32_t block) {
  if (references_[at(block)]++ == 0) remove_free(block);
}

void BlockManager::release(std::span<const std::int32_t> blocks) {
  for (auto i = blocks.rbegin(); i != blocks.rend(); ++i) {
    AWQ_CHECK(references_[at(*i)] > 0);
    if (--references_[at(*i)] == 0) append_free(*i);
  }
}

std::uint64_t BlockManager::hash(PrefixId before, std::string_view salt, std::span<const std::int32_t> tokens) const {
  SipHash sip(key_);
  sip.add(before);
  for (const std::int32_t token : tokens) sip.add(static_cast<std::uint64_t>(token));
  if (before == 0) {
    for (const char c : salt) sip.add(static_cast<std::uint64_t>(static_cast<unsigned char>(c)) | 0x100);
  }
  return sip.finish();
}

bool BlockManager::equal(std::int32_t block, PrefixId before, std::string_view salt,
                         std::span<const std::int32_t> tokens) const {
  const Entry& entry = entries_[at(block)];
  return entry.before == before && (before != 0 || entry.salt == salt) &&
         std::equal(tokens.begin(), tokens.end(), tokens_.begin() + block * block_size_);
}

BlockManager::Found BlockManager::find(PrefixId before, std::string_view salt,
                                       std::span<const std::int32_t> tokens) const {
  const std::uint64_t key = hash(before, salt, tokens);
  for (std::int32_t b = buckets_[key & (buckets_.size() - 1)]; b >= 0; b = entries_[at(b)].next) {
    if (entries_[at(b)].hash == key && equal(b, before, salt, tokens)) return {b, entries_[at(b)].id};
  }
  return {};
}

PrefixId BlockManager::publish(std::int32_t block, PrefixId before, std::string_view salt,
                               std::span<const std::int32_t> tokens) {
  AWQ_CHECK(static_cast<std::int64_t>(tokens.size()) == block_size_ && references_[at(block)] > 0);
  if (entries_[at(block)].id != 0) return entries_[at(block)].id;  // shared with the sequence that published it
  if (const Found found = find(before, salt, tokens); found.block >= 0) return found.prefix;
  Entry& entry = entries_[at(block)];
  entry.id = ++last_id_;
  entry.before = before;
  entry.hash = hash(before, salt, tokens);
  if (before == 0) entry.salt = salt;
  std::copy(tokens.begin(), tokens.end(), tokens_.begin() + block * block_size_);
  std::int32_t& bucket = buckets_[entry.hash & (buckets_.size() - 1)];
  entry.next = bucket;
  bucket = block;
  return entry.id;
}

void BlockManager::forget(std::int32_t block) {
  Entry& entry = entries_[at(block)];
  if (entry.id == 0) return;
  std::int32_t* link = &buckets_[entry.hash & (buckets_.size() - 1)];
  while (*link != block) link = &entries_[at(*link)].next;
  *link = entry.next;
  entry.id = 0;
  entry.next = -1;
  entry.salt.clear();
}

void BlockManager::check() const {
  std::int64_t free = 0;
  const auto anchor = static_cast<std::int32_t>(references_.size());
  for (std::int32_t b = next_free_[at(anchor)]; b != anchor; b = next_free_[at(b)]) {
    AWQ_CHECK(references_[at(b)] == 0 && previous_free_[at(next_free_[at(b)])] == b);
    AWQ_CHECK(++free <= free_count_);
  }
  AWQ_CHECK(free == free_count_);
  AWQ_CHECK(free == std::count(references_.begin(), references_.end(), 0));
  std::int64_t listed = 0;
  for (const std::int32_t first : buckets_) {
    for (std::int32_t b = first; b >= 0; b = entries_[at(b)].next) {
      AWQ_CHECK(entries_[at(b)].id != 0);
      AWQ_CHECK(++listed <= block_count());
    }
  }
  AWQ_CHECK(listed == std::count_if(entries_.begin(), entries_.end(), [](const Entry& e) { return e.id != 0; }));
}

}  // namespace awq::engine
