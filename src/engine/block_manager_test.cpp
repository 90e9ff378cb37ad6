#include "engine/block_manager.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "awq/error.h"

namespace awq::engine {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(BlockManager, HandsOutEachBlockOnce) {
  BlockManager blocks(5, 2, {1, 2});
  std::set<std::int32_t> seen;
  for (int i = 0; i < 5; ++i) seen.insert(blocks.allocate());
  EXPECT_EQ(seen.size(), 5U);
  EXPECT_EQ(blocks.allocate(), -1);
  EXPECT_EQ(blocks.free_count(), 0);
  blocks.check();
}

TEST(BlockManager, LeastRecentlyReleasedGoesFirstAndATailBeforeItsHead) {
  BlockManager blocks(4, 2, {1, 2});
  const Tokens a = {blocks.allocate(), blocks.allocate()};
  const Tokens b = {blocks.allocate(), blocks.allocate()};
  blocks.release(b);
  blocks.release(a);
  EXPECT_EQ(blocks.allocate(), b[1]);
  EXPECT_EQ(blocks.allocate(), b[0]);
  EXPECT_EQ(blocks.allocate(), a[1]);
  EXPECT_EQ(blocks.allocate(), a[0]);
}

TEST(BlockManager, FindsWhatWasPublishedUntilTheBlockIsReused) {
  BlockManager blocks(3, 2, {1, 2});
  const Tokens first = {7, 8}, second = {9, 9};
  const std::int32_t a = blocks.allocate(), b = blocks.allocate();
  const PrefixId pa = blocks.publish(a, 0, "", first);
  const PrefixId pb = blocks.publish(b, pa, "", second);
  EXPECT_NE(pa, pb);
  EXPECT_EQ(blocks.find(0, "", first).block, a);
  EXPECT_EQ(blocks.find(pa, "", second).block, b);
  EXPECT_EQ(blocks.find(0, "", second).block, -1);
  EXPECT_EQ(blocks.find(0, "salt", first).block, -1) << "another tenant";
  blocks.release(Tokens{a, b});
  EXPECT_EQ(blocks.find(0, "", first).block, a) << "free and cached";
  // A hit takes it out of the queue.
  blocks.add_reference(a);
  EXPECT_EQ(blocks.references(a), 1);
  const std::int32_t c = blocks.allocate();
  EXPECT_NE(c, a);
  EXPECT_EQ(blocks.allocate(), b);
  EXPECT_EQ(blocks.find(pa, "", second).block, -1) << "forgotten when handed out";
  EXPECT_EQ(blocks.find(0, "", first).block, a);
  blocks.check();
}

TEST(BlockManager, EqualBlocksShareOneId) {
  BlockManager blocks(3, 2, {1, 2});
  const Tokens tokens = {1, 2}, next = {3, 4};
  const std::int32_t a = blocks.allocate(), b = blocks.allocate();
  const PrefixId id = blocks.publish(a, 0, "", tokens);
  EXPECT_EQ(blocks.publish(b, 0, "", tokens), id);
  EXPECT_EQ(blocks.publish(a, 0, "", tokens), id) << "by a sequence that shares it";
  const std::int32_t c = blocks.allocate();
  const PrefixId child = blocks.publish(c, id, "", next);
  EXPECT_EQ(blocks.find(id, "", next).prefix, child);
  blocks.check();
}

TEST(BlockManager, SaltsAreCompared) {
  BlockManager blocks(8, 1, {1, 2});
  const Tokens token = {5};
  std::set<PrefixId> ids;
  for (const char* salt : {"", "a", "b", "ab"}) ids.insert(blocks.publish(blocks.allocate(), 0, salt, token));
  EXPECT_EQ(ids.size(), 4U);
  for (const char* salt : {"", "a", "b", "ab"}) EXPECT_TRUE(ids.contains(blocks.find(0, salt, token).prefix));
  EXPECT_EQ(blocks.find(0, "ba", token).block, -1);
}

TEST(BlockManager, ReleasingTooOftenIsCaught) {
  BlockManager blocks(2, 1, {1, 2});
  const Tokens a = {blocks.allocate()};
  blocks.release(a);
  EXPECT_THROW(blocks.release(a), Error);
}

}  // namespace
}  // namespace awq::engine
