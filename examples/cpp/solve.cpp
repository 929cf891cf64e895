// Solve Sudoku in C++17 with onnxruntime: solve MODEL.onnx PUZZLE...
// MODEL.onnx is a `loop` graph (trm-export onnx sudoku --mode loop -o loop.onnx): one call refines
// all puzzles together until each has halted. See README.md for how to build this.
#include <onnxruntime_cxx_api.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

// Does every row, column and box hold each digit once? Tokens are digits plus one.
static bool verified(const int32_t* answer) {
  for (int group = 0; group < 9; ++group) {
    int row = 0, column = 0, box = 0;
    for (int place = 0; place < 9; ++place) {
      row |= 1 << answer[group * 9 + place];
      column |= 1 << answer[place * 9 + group];
      box |= 1 << answer[(group / 3 * 3 + place / 3) * 9 + group % 3 * 3 + place % 3];
    }
    if (row != 0x7fc || column != 0x7fc || box != 0x7fc) return false;
  }
  return true;
}

int main(int argc, char** argv) try {
  if (argc < 3) return std::cerr << "usage: solve MODEL.onnx PUZZLE...\n", 2;
  const int64_t batch = argc - 2;
  std::vector<int32_t> tokens;
  for (int i = 2; i < argc; ++i) {
    const std::string puzzle = argv[i];
    if (puzzle.size() != 81 || puzzle.find_first_not_of("123456789.0") != std::string::npos)
      return std::cerr << "Error: a puzzle has 81 cells, digits or dots; got " << puzzle << "\n", 2;
    for (const char cell : puzzle) tokens.push_back(cell == '.' ? 1 : cell - '0' + 1);
  }

  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "trm");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, argv[1], options);

  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const int64_t shape[] = {batch, 81};
  int64_t max_steps = 64;
  float halt_threshold = 0.9f;  // an example halts when the model gives its answer this chance
  const char* inputs[] = {"tokens", "max_steps", "halt_threshold"};
  const char* outputs[] = {"answer", "halt_logit", "steps"};
  const Ort::Value feeds[] = {
      Ort::Value::CreateTensor<int32_t>(memory, tokens.data(), tokens.size(), shape, 2),
      Ort::Value::CreateTensor<int64_t>(memory, &max_steps, 1, nullptr, 0),
      Ort::Value::CreateTensor<float>(memory, &halt_threshold, 1, nullptr, 0)};
  const auto results = session.Run(Ort::RunOptions{}, inputs, feeds, 3, outputs, 3);

  int unsolved = 0;
  for (int64_t i = 0; i < batch; ++i) {
    const int32_t* answer = results[0].GetTensorData<int32_t>() + i * 81;
    for (int cell = 0; cell < 81; ++cell) std::cout << answer[cell] - 1;
    const bool solved = verified(answer);
    unsolved += !solved;
    std::cout << (solved ? " verified, " : " NOT solved, ")
              << results[2].GetTensorData<int32_t>()[i] << " steps\n";
  }
  return unsolved ? 1 : 0;
} catch (const Ort::Exception& error) {
  return std::cerr << "Error: " << error.what() << "\n", 2;
}
