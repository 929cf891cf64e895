// Find a shortest path through mazes in C++17 with onnxruntime: maze MODEL.onnx FILE...
// MODEL.onnx is a `step` graph for boards of any size, such as trm_sdk/pretrained/maze/model.onnx.
// A file has a line a row: # wall, space or . free, S and G the ends. The program calls the graph
// step after step, until the marked cells are a shortest path. See README.md for how to build this.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

enum : int32_t { WALL = 1, FREE, START, GOAL, PATH };  // 0 pads

struct Maze {
  int64_t rows = 0, columns = 0;
  std::vector<int32_t> tokens;
};

static Maze read(const std::string& path) {
  const std::string symbols = "# SGo";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Maze maze;
  for (std::string line; std::getline(file, line); ++maze.rows) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!maze.rows) maze.columns = line.size();
    if (line.empty() || int64_t(line.size()) != maze.columns)
      throw std::runtime_error(path + ": rows must be of equal length");
    for (const char cell : line) {
      const auto found = symbols.find(cell == '.' ? ' ' : cell);
      if (found >= 4) throw std::runtime_error(path + ": a cell is one of \"# .SG\"; got " + cell);
      maze.tokens.push_back(int32_t(found) + WALL);
    }
  }
  for (const int32_t end : {START, GOAL})
    if (std::count(maze.tokens.begin(), maze.tokens.end(), end) != 1)
      throw std::runtime_error(path + ": a maze has one S and one G");
  return maze;
}

// Moves from start to goal over cells that hold `open`, by breadth-first search; -1: no way.
static int64_t distance(const Maze& maze, const std::vector<int32_t>& cells, int32_t open) {
  std::vector<int64_t> moves(cells.size(), -1);
  std::deque<int64_t> queue{std::find(cells.begin(), cells.end(), START) - cells.begin()};
  moves[queue.front()] = 0;
  for (; !queue.empty(); queue.pop_front()) {
    const int64_t cell = queue.front(), column = cell % maze.columns;
    if (cells[cell] == GOAL) return moves[cell];
    const auto visit = [&](bool inside, int64_t next) {
      if (!inside || moves[next] >= 0 || (cells[next] != open && cells[next] != GOAL)) return;
      moves[next] = moves[cell] + 1;
      queue.push_back(next);
    };
    visit(cell >= maze.columns, cell - maze.columns);
    visit(cell + maze.columns < int64_t(cells.size()), cell + maze.columns);
    visit(column > 0, cell - 1);
    visit(column + 1 < maze.columns, cell + 1);
  }
  return -1;
}

int main(int argc, char** argv) try {
  if (argc < 3) return std::cerr << "usage: maze MODEL.onnx FILE...\n", 2;
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "trm");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, argv[1], options);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  // Numbers a cell of the states y and z, as the graph declares them: (batch, rows, columns, 1, n).
  const int64_t hidden = session.GetInputTypeInfo(1).GetTensorTypeAndShapeInfo().GetShape().back();
  const char* inputs[] = {"tokens", "y", "z"};
  const char* outputs[] = {"next_y", "next_z", "logits"};

  int unsolved = 0;
  for (int i = 2; i < argc; ++i) {
    Maze maze = read(argv[i]);
    const size_t cells = maze.tokens.size();
    const int64_t shortest = distance(maze, maze.tokens, FREE);
    const int64_t board[] = {1, maze.rows, maze.columns};
    const int64_t state[] = {1, maze.rows, maze.columns, 1, hidden};
    std::vector<Ort::Value> feeds;
    feeds.push_back(
        Ort::Value::CreateTensor<int32_t>(memory, maze.tokens.data(), cells, board, 3));
    std::vector<float> zeros(cells * hidden);  // a fresh state
    for (int k = 0; k < 2; ++k)
      feeds.push_back(
          Ort::Value::CreateTensor<float>(memory, zeros.data(), zeros.size(), state, 5));

    // News travels a few cells a step: a larger board may take more of them.
    const int limit = std::max<int>(128, int(cells / 4));
    std::vector<int32_t> answer = maze.tokens;
    bool solved = false;
    int step = 0;
    while (shortest > 0 && !solved && step < limit) {
      auto out = session.Run(Ort::RunOptions{}, inputs, feeds.data(), 3, outputs, 3);
      ++step;
      const float* logits = out[2].GetTensorData<float>();  // of free and path, for each cell
      for (size_t cell = 0; cell < cells; ++cell)
        if (maze.tokens[cell] == FREE)
          answer[cell] = logits[2 * cell + 1] > logits[2 * cell] ? PATH : FREE;
      // As many marks as a shortest path has cells, and a way over them: they are that path.
      solved = std::count(answer.begin(), answer.end(), PATH) == shortest - 1 &&
               distance(maze, answer, PATH) == shortest;
      feeds[1] = std::move(out[0]);
      feeds[2] = std::move(out[1]);
    }
    for (size_t cell = 0; cell < cells; ++cell) {
      std::cout << "# SGo"[answer[cell] - WALL];
      if ((cell + 1) % maze.columns == 0) std::cout << '\n';
    }
    if (shortest < 0) std::cout << "no way from S to G\n";
    else std::cout << (solved ? "verified, " : "NOT solved, ") << step << " steps\n";
    unsolved += !solved;
  }
  return unsolved ? 1 : 0;
} catch (const std::exception& error) {  // Ort::Exception is one
  return std::cerr << "Error: " << error.what() << "\n", 2;
}
