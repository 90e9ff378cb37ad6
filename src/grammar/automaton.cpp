#include "grammar/automaton.h"

#include <algorithm>
#include <map>

#include "base/check.h"

namespace awq::grammar {

/// Lays out the automata of all rules. Expressions are walked with an explicit stack, because a schema can nest them
/// deeply; a node that several others share is laid out once for each.
class Automaton::Builder {
 public:
  Builder(const Grammar& grammar, Automaton& out) : grammar_(grammar), out_(out) {}

  void run() {
    check_rules();
    out_.rules_.resize(grammar_.rules().size());
    for (RuleId rule = 0; rule < grammar_.rules().size(); ++rule) {
      if (!productive_[rule]) continue;  // no text leads through it
      const StateId start = new_state();
      const StateId end = new_state();
      is_end_[end] = true;
      out_.rules_[rule].start = start;
      lay_out(static_cast<NodeId>(grammar_.rules()[rule].body), start, end);
    }
    finish();
  }

 private:
  struct Task {
    NodeId node;
    StateId from;
    StateId to;
  };

  StateId new_state() {
    if (edges_.size() >= grammar_.limits().states) {
      too_large(grammar_.limits().states, "states");
    }
    edges_.emplace_back();
    is_end_.push_back(false);
    return static_cast<StateId>(edges_.size() - 1);
  }

  void add_edge(StateId from, Edge edge) {
    if (++edge_count_ > 4 * grammar_.limits().states) {
      too_large(4 * grammar_.limits().states, "edges");
    }
    edges_[from].push_back(edge);
  }
  void add_empty(StateId from, StateId to) { add_edge(from, {.kind = EdgeKind::kEmpty, .to = to}); }
  void add_bytes(StateId from, ByteRange range, StateId to) {
    add_edge(from, {.kind = EdgeKind::kByte, .first = range.first, .last = range.last, .to = to});
  }

  /// The compile-time budget of the checks, which can meet a node many times.
  void work(int depth) {
    if (depth > kMaxNodeDepth) grammar_error("the grammar is nested too deeply");
    if (++work_ > kMaxWork) grammar_error("the grammar takes too long to check");
  }

  void lay_out(NodeId root, StateId from, StateId to) {
    std::vector<Task> tasks = {{root, from, to}};
    while (!tasks.empty()) {
      const Task task = tasks.back();
      tasks.pop_back();
      const Node& node = grammar_.node(task.node);
      switch (node.kind) {
        case NodeKind::kNothing:
          break;
        case NodeKind::kEmpty:
          add_empty(task.from, task.to);
          break;
        case NodeKind::kText:
          lay_out_text(node.text, task);
          break;
        case NodeKind::kClass:
          lay_out_class(node.set, task);
          break;
        case NodeKind::kRule:
          if (productive_[node.rule]) {
            add_edge(task.from, {.kind = EdgeKind::kCall, .to = task.to, .rule = node.rule});
          }
          break;
        case NodeKind::kChoice:
          for (const NodeId part : node.parts) tasks.push_back({part, task.from, task.to});
          break;
        case NodeKind::kSequence: {
          StateId at = task.from;
          for (std::size_t i = 0; i < node.parts.size(); ++i) {
            const StateId next = i + 1 == node.parts.size() ? task.to : new_state();
            tasks.push_back({node.parts[i], at, next});
            at = next;
          }
          if (node.parts.empty()) add_empty(task.from, task.to);
          break;
        }
        case NodeKind::kRepeat:
          lay_out_repeat(node, task, tasks);
          break;
      }
    }
  }

  void lay_out_text(const std::string& text, const Task& task) {
    if (text.empty()) return add_empty(task.from, task.to);
    StateId at = task.from;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const StateId next = i + 1 == text.size() ? task.to : new_state();
      const auto byte = static_cast<unsigned char>(text[i]);
      add_bytes(at, {byte, byte}, next);
      at = next;
    }
  }

  /// Rows that end alike share their ends, which keeps a large class small.
  void lay_out_class(const CharSet& set, const Task& task) {
    std::map<std::vector<std::pair<unsigned char, unsigned char>>, StateId> tails;
    for (const std::vector<ByteRange>& row : utf8_rows(set)) {
      StateId next = task.to;
      std::vector<std::pair<unsigned char, unsigned char>> tail;
      for (std::size_t i = row.size() - 1; i > 0; --i) {
        tail.emplace_back(row[i].first, row[i].last);
        const auto [known, fresh] = tails.try_emplace(tail, 0);
        if (fresh) {
          known->second = new_state();
          add_bytes(known->second, row[i], next);
        }
        next = known->second;
      }
      add_bytes(task.from, row[0], next);
    }
  }

  void lay_out_repeat(const Node& node, const Task& task, std::vector<Task>& tasks) {
    StateId at = task.from;
    for (std::int64_t i = 0; i < node.min; ++i) {
      const StateId next = new_state();
      tasks.push_back({node.parts[0], at, next});
      at = next;
    }
    if (node.max == kUnbounded) {
      // A state of its own, so that the loop does not leak into what else leaves `from`.
      const StateId loop = new_state();
      add_empty(at, loop);
      tasks.push_back({node.parts[0], loop, loop});
      add_empty(loop, task.to);
      return;
    }
    for (std::int64_t i = node.min; i < node.max; ++i) {
      const StateId next = new_state();
      add_empty(at, task.to);
      tasks.push_back({node.parts[0], at, next});
      at = next;
    }
    add_empty(at, task.to);
  }

  // ---- checks on the grammar as a whole, by fixed point over the nodes ----

  enum class Question { kProductive, kNullable };

  /// For each rule, whether it has a finite text, or whether it matches the empty one.
  std::vector<bool> answer(Question question) {
    std::vector<bool> rules(grammar_.rules().size(), false);
    for (bool changed = true; changed;) {
      changed = false;
      // Backwards: rules are mostly declared before those that they call.
      for (RuleId rule = static_cast<RuleId>(rules.size()); rule-- > 0;) {
        if (rules[rule]) continue;
        if (holds(question, static_cast<NodeId>(grammar_.rules()[rule].body), rules, 0)) rules[rule] = changed = true;
      }
    }
    return rules;
  }

  bool holds(Question question, NodeId id, const std::vector<bool>& rules, int depth) {
    work(depth);
    const Node& node = grammar_.node(id);
    const auto part = [&](NodeId p) { return holds(question, p, rules, depth + 1); };
    switch (node.kind) {
      case NodeKind::kEmpty:
        return true;
      case NodeKind::kNothing:
        return false;
      case NodeKind::kText:
        return question == Question::kProductive || node.text.empty();
      case NodeKind::kClass:
        return question == Question::kProductive && !node.set.empty();
      case NodeKind::kRule:
        return rules[node.rule];
      case NodeKind::kChoice:
        return std::any_of(node.parts.begin(), node.parts.end(), part);
      case NodeKind::kSequence:
        return std::all_of(node.parts.begin(), node.parts.end(), part);
      case NodeKind::kRepeat:
        return node.min == 0 || part(node.parts[0]);
    }
    return false;
  }

  /// The rules that a node can call before it reads a byte.
  void first_calls(NodeId id, std::vector<RuleId>& out, int depth) {
    work(depth);
    const Node& node = grammar_.node(id);
    if (node.kind == NodeKind::kRule && productive_[node.rule]) out.push_back(node.rule);
    if (node.kind == NodeKind::kRepeat && node.max == 0) return;
    for (const NodeId part : node.parts) {
      first_calls(part, out, depth + 1);
      if (node.kind == NodeKind::kSequence && !holds(Question::kNullable, part, nullable_, depth + 1)) break;
    }
  }

  void check_rules() {
    if (grammar_.rules().empty()) grammar_error("the grammar has no rules");
    for (const Grammar::Rule& rule : grammar_.rules()) {
      if (rule.body < 0) grammar_error(fmt::format("rule \"{}\" is used but not defined", printable(rule.name, 60)));
    }
    productive_ = answer(Question::kProductive);
    nullable_ = answer(Question::kNullable);
    if (!productive_[grammar_.start()])
      grammar_error("nothing can match: every way through it goes on for ever or contradicts itself");
    // Depth-first over "calls before it reads a byte"; a way back into the path is left recursion.
    const std::size_t count = grammar_.rules().size();
    std::vector<std::vector<RuleId>> calls(count);
    for (RuleId rule = 0; rule < count; ++rule) {
      first_calls(static_cast<NodeId>(grammar_.rules()[rule].body), calls[rule], 0);
      std::sort(calls[rule].begin(), calls[rule].end());
      calls[rule].erase(std::unique(calls[rule].begin(), calls[rule].end()), calls[rule].end());
    }
    std::vector<int> state(count, 0);  // 0 new, 1 on the path, 2 done
    for (RuleId root = 0; root < count; ++root) {
      std::vector<std::pair<RuleId, std::size_t>> path;
      if (state[root] == 0) {
        path.emplace_back(root, 0);
        state[root] = 1;
      }
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        if (next == calls[rule].size()) {
          state[rule] = 2;
          path.pop_back();
          continue;
        }
        const RuleId to = calls[rule][next++];
        if (state[to] == 1) {
          grammar_error(fmt::format("rule \"{}\" calls itself before it reads anything (left recursion)",
                                    printable(grammar_.rules()[to].name, 60)));
        }
        if (state[to] == 0) {
          state[to] = 1;
          path.emplace_back(to, 0);
        }
      }
    }
  }

  void finish() {
    for (StateId state = 0; state < edges_.size(); ++state) {
      State out{.begin = static_cast<std::uint32_t>(out_.edges_.size()), .is_end = is_end_[state]};
      out_.edges_.insert(out_.edges_.end(), edges_[state].begin(), edges_[state].end());
      out.end = static_cast<std::uint32_t>(out_.edges_.size());
      out_.states_.push_back(out);
    }
    std::array<bool, 257> begins{};
    for (const Edge& edge : out_.edges_) {
      if (edge.kind != EdgeKind::kByte) continue;
      begins[edge.first] = begins[std::size_t{edge.last} + 1] = true;
    }
    for (std::size_t byte = 1; byte < out_.byte_classes_.size(); ++byte) {
      out_.byte_classes_[byte] = static_cast<std::uint8_t>(out_.byte_classes_[byte - 1] + (begins[byte] ? 1 : 0));
    }
  }

  static constexpr int kMaxNodeDepth = 400;
  static constexpr std::uint64_t kMaxWork = 20'000'000;

  const Grammar& grammar_;
  Automaton& out_;
  std::vector<std::vector<Edge>> edges_;
  std::vector<bool> is_end_;
  std::vector<bool> productive_;
  std::vector<bool> nullable_;
  std::size_t edge_count_ = 0;
  std::uint64_t work_ = 0;
};

Automaton::Automaton(const Grammar& grammar) : start_rule_(grammar.start()) { Builder(grammar, *this).run(); }

}  // namespace awq::grammar
