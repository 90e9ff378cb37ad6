// Hopper's own instructions: barriers that count bytes, bulk copies, products of warpgroups.

#include "hopper.h"

#include <algorithm>
#include <utility>

#include "base/float16.h"
#include "block.h"

namespace cuda_emulation {
namespace {

/// As it lies in shared memory, so that it can be overwritten there.
struct ByteBarrier {
  std::uint32_t arrivals : 12;  ///< of a phase
  std::uint32_t pending : 12;   ///< still missing in this one
  std::uint32_t parity : 1;     ///< of this one
  std::uint32_t mark : 7;
  std::int32_t bytes;  ///< still missing; below zero when copies come before the arrival that announces them
};
static_assert(sizeof(ByteBarrier) == 8);
constexpr std::uint32_t kMark = 0x5a;

ByteBarrier load(const std::uint8_t* at) {
  ByteBarrier barrier;
  std::memcpy(&barrier, at, sizeof(barrier));
  if (barrier.mark != kMark) stop("what is used as a barrier is none");
  return barrier;
}
void store(std::uint8_t* at, ByteBarrier barrier) {
  if (barrier.pending == 0 && barrier.bytes == 0) {
    barrier.parity ^= 1U;
    barrier.pending = barrier.arrivals;
  }
  std::memcpy(at, &barrier, sizeof(barrier));
}

void arrive(std::uint8_t* at, std::uint32_t bytes) {
  ByteBarrier barrier = load(at);
  if (barrier.pending == 0) stop("more arrivals than the barrier counts");
  barrier.pending -= 1U;
  barrier.bytes += static_cast<std::int32_t>(bytes);
  store(at, barrier);
}

void run(const BulkCopy& copy) {
  copy.work();
  ByteBarrier barrier = load(copy.barrier);
  barrier.bytes -= static_cast<std::int32_t>(copy.bytes);
  store(copy.barrier, barrier);
}
void start(Block& to, BulkCopy copy) {
  if (draw_lot(2) == 0) return run(copy);
  to.bulk_copies.push_back(std::move(copy));
}

/// Pieces of 16 bytes inside 1024 change places.
std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 3 & 0x70U); }

void fill_box(std::uint8_t* shared, std::uint32_t to, const CUtensorMap& map, std::int64_t column, std::int64_t row) {
  for (std::uint32_t r = 0; r < map.box_rows; ++r) {
    for (std::uint32_t c = 0; c < map.box_columns; ++c) {
      const std::int64_t from_row = row + r, from_column = column + c;
      const bool inside = from_row >= 0 && from_row < map.rows && from_column >= 0 && from_column < map.columns;
      std::uint8_t* const place = shared + swizzled(to + r * map.box_columns * 2 + c * 2);
      if (inside) {
        std::memcpy(place, map.data + from_row * map.pitch + from_column * 2, 2);
      } else {
        std::memset(place, 0, 2);
      }
    }
  }
}

/// Place in a lane's share of the tile of a product.
struct Element {
  unsigned n, k;
};
Element share_of(unsigned lane, unsigned tokens, unsigned i) {
  const unsigned at = lane * (tokens / 2) + i;
  return {at / 16, at % 16};
}
/// The tile that a descriptor names: rows of 128 bytes, eight of them 1024 bytes apart, swizzled.
std::uint16_t half_at(std::uint64_t descriptor, Element e) {
  const auto start = static_cast<std::uint32_t>(descriptor & 0x3fffU) << 4;
  std::uint16_t bits;
  std::memcpy(&bits, block->shared.get() + swizzled(start + e.n / 8 * 1024 + e.n % 8 * 128 + e.k * 2), 2);
  return bits;
}

float widen(bool bf16, std::uint16_t bits) {
  return bf16 ? awq::to_float(awq::Bf16{bits}) : awq::to_float(awq::F16{bits});
}

/// Adds 16 products to each of a lane's sums: rows g and g + 8 as the exchange left them, kColumns columns of `b`.
template <unsigned kColumns>
void add_products(float* sums, const std::uint32_t* of_lanes, const double* b, bool accumulate) {
  for (unsigned r = 0; r < 2; ++r) {
    double sum[kColumns];
    const auto to = [&](unsigned c) { return c / 2 * 4 + r * 2 + c % 2; };
    for (unsigned c = 0; c < kColumns; ++c) sum[c] = accumulate ? static_cast<double>(sums[to(c)]) : 0;
    for (unsigned k = 0; k < 16; ++k) {
      const std::uint32_t bits = of_lanes[k / 2 % 4 * kLaneWords + k / 8 * 4 + r * 2 + k % 2];
      const auto left = static_cast<double>(__uint_as_float(bits));
      for (unsigned c = 0; c < kColumns; ++c) sum[c] += left * b[k * kColumns + c];
    }
    for (unsigned c = 0; c < kColumns; ++c) sums[to(c)] = static_cast<float>(sum[c]);
  }
}

constexpr std::uint32_t kInFlight = 0x7fc0dead;  ///< what accumulators hold meanwhile

}  // namespace

bool bytes_are_there(const Thread& thread) { return load(thread.barrier).parity != thread.parity; }

bool do_bulk_copies(Block& of) {
  const auto is_waited_for = [&](const BulkCopy& copy) {
    return std::any_of(of.threads.begin(), of.threads.end(), [&](const Thread& thread) {
      return thread.state == State::kAtBytes && thread.barrier == copy.barrier;
    });
  };
  const auto first = std::stable_partition(of.bulk_copies.begin(), of.bulk_copies.end(),
                                           [&](const BulkCopy& copy) { return !is_waited_for(copy); });
  const bool any = first != of.bulk_copies.end();
  std::for_each(first, of.bulk_copies.end(), run);
  of.bulk_copies.erase(first, of.bulk_copies.end());
  return any;
}

void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  if (barrier % 8 != 0) stop("a barrier at an address that is not a multiple of 8");
  const ByteBarrier fresh = {.arrivals = arrivals, .pending = arrivals, .parity = 0, .mark = kMark, .bytes = 0};
  store(block->shared.get() + barrier, fresh);
}
void barrier_arrive(std::uint32_t barrier, std::uint32_t bytes) { arrive(block->shared.get() + barrier, bytes); }
void barrier_arrive_remote(std::uint32_t barrier, std::uint32_t rank) { arrive(shared_memory_of(rank) + barrier, 0); }
void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  Thread& thread = block->threads[current];
  thread.barrier = block->shared.get() + barrier;
  thread.parity = parity;
  if (!bytes_are_there(thread)) wait(State::kAtBytes);
}

void copy_bulk(std::uint32_t to, const void* from, std::uint32_t bytes, std::uint32_t barrier) {
  if (to % 16 != 0 || bytes % 16 != 0 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0) {
    stop("a bulk copy that is not in pieces of 16 bytes");
  }
  std::uint8_t* const shared = block->shared.get();
  start(*block, {shared + barrier, bytes, [=] { std::memcpy(shared + to, from, bytes); }});
}
void copy_box(std::uint32_t to, const CUtensorMap& map, int c0, int c1, std::uint32_t barrier,
              std::uint32_t block_bits) {
  if (to % 1024 != 0) stop("a swizzled box at an address that is not a multiple of 1024");
  for (unsigned rank = 0; block_bits >> rank != 0; ++rank) {
    if ((block_bits >> rank & 1U) == 0) continue;
    std::uint8_t* const shared = shared_memory_of(rank);
    start(*blocks[block->cluster_begin + rank],
          {shared + barrier, map.box_rows * map.box_columns * 2, [=] { fill_box(shared, to, map, c0, c1); }});
  }
}

std::uint8_t* shared_memory_of(std::uint32_t rank) { return blocks[block->cluster_begin + rank]->shared.get(); }

void products_fence() { block->threads[current].products.fenced = true; }
void products_commit() {
  Products& products = block->threads[current].products;
  ++products.group;
  products.fenced = false;
}

void multiply(float* d, unsigned tokens, bool bf16, const std::uint32_t* a, std::uint64_t b, bool accumulate) {
  constexpr std::uint64_t kLayout = 0x40000000U | (1024 >> 4);  // what half_at() knows
  Products& own = block->threads[current].products;
  if (!own.fenced) stop("a product without a fence before it");
  if (b >> 32 != kLayout) stop("a tile that is laid out in another way");
  if (own.to != nullptr && own.to != d) stop("products into two places at a time");

  // Every lane widens a share of the tile for all.
  const unsigned lane = current % kLanes, warp = current / kLanes;
  const unsigned columns = tokens / 4;  // of a lane
  std::vector<double>& tiles = block->tiles[block->word_exchanges[current] % 2];
  const std::size_t tile_size = std::size_t{16} * kMostTokens;
  if (tiles.empty()) tiles.resize(tile_size * (1024 / kLanes));
  double* const tile = tiles.data() + warp * tile_size;
  IssuedProduct& issued = own.issued.emplace_back();
  issued.a = a;
  std::copy(a, a + 4, issued.a_then);
  issued.b = b;
  issued.tokens = tokens;
  issued.group = own.group;
  for (unsigned i = 0; i < tokens / 2; ++i) {
    const Element e = share_of(lane, tokens, i);
    issued.b_then[i] = half_at(b, e);
    tile[(e.n % 8 / 2 * 16 + e.k) * columns + e.n / 8 * 2 + e.n % 2] =
        static_cast<double>(widen(bf16, issued.b_then[i]));
  }
  std::uint32_t words[kLaneWords] = {};
  for (int i = 0; i < 8; ++i) {
    words[i] = __float_as_uint(widen(bf16, static_cast<std::uint16_t>(a[i / 2] >> (16 * (i % 2)))));
  }
  const std::uint32_t* of_lane = exchange_words(words);

  if (own.to == nullptr) {
    own.to = d;
    own.values = tokens / 2;
    std::copy(d, d + own.values, own.sums);
    std::fill(d, d + own.values, __uint_as_float(kInFlight));
  }
  const auto add = [&]<unsigned kColumns>() {
    add_products<kColumns>(own.sums, of_lane + lane / 4 * 4 * kLaneWords, tile + lane % 4 * 16 * kColumns, accumulate);
  };
  switch (tokens) {
    case 16:
      return add.operator()<4>();
    case 32:
      return add.operator()<8>();
    case 64:
      return add.operator()<16>();
    case 128:
      return add.operator()<32>();
    default:
      stop("a product of another number of columns");
  }
}

void products_wait(int pending) {
  wait(State::kResting);
  Products& own = block->threads[current].products;
  std::size_t done = 0;
  for (; done < own.issued.size() && own.issued[done].group < own.group - pending; ++done) {
    const IssuedProduct& issued = own.issued[done];
    if (!std::equal(issued.a_then, issued.a_then + 4, issued.a)) stop("registers that a product still reads changed");
    for (unsigned i = 0; i < issued.tokens / 2; ++i) {
      const Element e = share_of(current % kLanes, issued.tokens, i);
      if (half_at(issued.b, e) != issued.b_then[i]) stop("shared memory that a product still reads changed");
    }
  }
  own.issued.erase(own.issued.begin(), own.issued.begin() + static_cast<std::ptrdiff_t>(done));
  if (own.to != nullptr && own.issued.empty()) {
    for (unsigned i = 0; i < own.values; ++i) {
      if (__float_as_uint(own.to[i]) != kInFlight) stop("sums of a product changed while it ran");
    }
    std::copy(own.sums, own.sums + own.values, own.to);
    own.to = nullptr;
  }
  wait_for_warp();
}

}  // namespace cuda_emulation
