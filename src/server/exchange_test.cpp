#include "server/exchange.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace awq::server {
namespace {

TEST(Exchange, IsFullFromHalfOfItsLimitUntilAllIsTaken) {
  Exchange exchange([] {}, 1000);
  std::vector<bool> told;
  exchange.on_full([&] { told.push_back(exchange.full()); });
  EXPECT_TRUE(exchange.write(std::string(500, 'a')));
  EXPECT_FALSE(exchange.full());
  EXPECT_TRUE(exchange.write("b"));
  EXPECT_TRUE(exchange.full());
  EXPECT_TRUE(exchange.write(std::string(499, 'c')));  // what was on its way still fits
  EXPECT_EQ(told, (std::vector<bool>{true}));
  EXPECT_EQ(exchange.take().bytes.size(), 1000U);
  EXPECT_FALSE(exchange.full());
  exchange.take();
  EXPECT_EQ(told, (std::vector<bool>{true, false}));
}

TEST(Exchange, WhatDoesNotFitCancels) {
  Exchange exchange([] {}, 1000);
  CancelReason reason = CancelReason::kNone;
  exchange.on_cancel([&](CancelReason why) { reason = why; });
  // Where nothing waits any piece fits: a reader that keeps up is not punished for the size of a piece.
  EXPECT_TRUE(exchange.write(std::string(5000, 'a')));
  EXPECT_TRUE(exchange.full());
  EXPECT_FALSE(exchange.write("b"));
  EXPECT_EQ(reason, CancelReason::kSlowReader);
  EXPECT_FALSE(exchange.full());  // its last words go on
  EXPECT_TRUE(exchange.write("the end"));
  exchange.finish();
  const Exchange::Output out = exchange.take();
  EXPECT_EQ(out.bytes.size(), 5007U);
  EXPECT_TRUE(out.finished);
}

TEST(Exchange, ADisconnectedOneTakesNothingAndIsNotFull) {
  Exchange exchange([] {}, 1000);
  EXPECT_TRUE(exchange.write(std::string(900, 'a')));
  exchange.cancel(CancelReason::kDisconnected);
  EXPECT_FALSE(exchange.full());
  EXPECT_FALSE(exchange.write("b"));
}

}  // namespace
}  // namespace awq::server
