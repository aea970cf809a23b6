#include "approximate/index_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <system_error>
#include <utility>

#include "approximate/bank_index.h"
#include "approximate/recall.h"
#include "base/random.h"
#include "memory/bank_files.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Of so many keys for each list the centres are found. FAISS asks for 39 at least; more than this
// takes long and gives little.
constexpr size_t kSamplePerList = 48;
constexpr size_t kSampleForPrototypes = 256 * 40;
constexpr size_t kBatch = 8192;  // keys that are widened and added at once
constexpr size_t kSampledQuestions = 100, kSampledTokens = 4;
// Noise of a sampled key: this share of its length. Far enough that the key itself is not the only
// thing to be found.
constexpr double kNoise = 0.5;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Error stopped() {
  return {Code::cancelled, "memory index: stopped; the bank is as it was"};
}

void widen(ConstAnyMat keys, size_t row, std::span<float> to) {
  if (keys.dtype == DType::f32) {
    const auto from = keys.as<float>().row(row);
    std::copy(from.begin(), from.end(), to.begin());
  } else {
    const auto from = keys.as<bf16>().row(row);
    for (size_t i = 0; i < from.size(); ++i) to[i] = from[i].to_float();
  }
}

// The rows to be indexed: those of documents, in segments whose keys are all finite.
class Rows {
 public:
  struct Place {
    uint32_t segment = 0;  // of the snapshot
    uint32_t row = 0;
    uint32_t number = 0;  // in the index
  };

  Rows(const Snapshot& snapshot, size_t width) : snapshot_(snapshot), width_(width) {}

  Result<void> collect(const fs::path& bank, std::stop_token stop) {
    for (size_t s = 0; s < snapshot_.segments.size(); ++s) {
      if (stop.stop_requested()) return stopped();
      const SegmentView& segment = snapshot_.segments[s];
      if (segment.documents.empty()) continue;
      uint64_t chunks = 0;
      for (const DocumentSpan& span : segment.documents) chunks += span.chunks;
      if (!finite(segment)) {
        left_out += chunks;
        continue;
      }
      const uint64_t first = catalogue.chunks();
      const size_t rows = segment.layers.front().keys.rows;
      if (first + rows > std::numeric_limits<uint32_t>::max())
        return Error{Code::unsupported,
                     fmt::format("{}: more than {} chunks cannot be indexed; use exact routing",
                                 bank.string(), std::numeric_limits<uint32_t>::max())};
      catalogue.segments.push_back({segment.id, static_cast<uint32_t>(rows), header_hash(segment)});
      catalogue.documents += segment.documents.size();
      catalogue.rows += chunks;
      for (const DocumentSpan& span : segment.documents)
        for (uint32_t c = 0; c < span.chunks; ++c) {
          const uint32_t row = span.first_chunk + c;
          places.push_back({static_cast<uint32_t>(s), row, static_cast<uint32_t>(first + row)});
        }
    }
    return {};
  }

  void read(size_t layer, const Place& place, std::span<float> to) const {
    widen(snapshot_.segments[place.segment].layers[layer].keys, place.row, to);
  }

  std::vector<Place> places;
  IndexCatalogue catalogue;  // segments, rows and documents are set
  uint64_t left_out = 0;

 private:
  bool finite(const SegmentView& segment) const {
    std::vector<float> key(width_);
    for (const SegmentLayer& layer : segment.layers)
      for (const DocumentSpan& span : segment.documents)
        for (uint32_t c = 0; c < span.chunks; ++c) {
          widen(layer.keys, span.first_chunk + c, key);
          // A sum of squares is finite if and only if they all are and none is out of range.
          const float squares = std::inner_product(key.begin(), key.end(), key.begin(), 0.0f);
          if (!std::isfinite(squares)) return false;
        }
    return true;
  }

  const Snapshot& snapshot_;
  size_t width_;
};

size_t default_lists(uint64_t rows) {
  const auto root = static_cast<size_t>(4 * std::sqrt(static_cast<double>(rows)));
  return std::clamp<size_t>(root, 1, std::max<size_t>(rows / 39, 1));
}

// `count` different numbers below `all`, ascending.
std::vector<size_t> sample_of(size_t all, size_t count, Random& random) {
  // Selection sampling (Knuth, algorithm S).
  std::vector<size_t> chosen;
  chosen.reserve(count);
  for (size_t i = 0; i < all && chosen.size() < count; ++i)
    if (random.below(all - i) < count - chosen.size()) chosen.push_back(i);
  return chosen;
}

FoldedQuestions sampled_questions(const Rows& rows, size_t layer, size_t width, uint64_t seed) {
  Random random(seed, 1 + layer);
  FoldedQuestions sampled{width, {}};
  const auto gaussian = [&] {  // Box and Muller
    const double u = 1 - random.uniform(), v = random.uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
  };
  for (size_t q = 0; q < kSampledQuestions; ++q) {
    std::vector<float>& question = sampled.questions.emplace_back(kSampledTokens * width);
    for (size_t t = 0; t < kSampledTokens; ++t) {
      const std::span<float> query = std::span(question).subspan(t * width, width);
      rows.read(layer, rows.places[random.below(rows.places.size())], query);
      double squares = 0;
      for (const float x : query) squares += double{x} * x;
      const double deviation = kNoise * std::sqrt(squares / static_cast<double>(width));
      for (float& x : query) x += static_cast<float>(deviation * gaussian());
    }
  }
  return sampled;
}

// Files of the index's folder that `kept` does not name, of builds that this one replaces or that
// were interrupted. What cannot be removed stays.
void remove_others(const fs::path& folder, const IndexCatalogue& kept) {
  const Result<std::vector<std::string>> names = list_names(folder);
  if (!names) return;
  for (const std::string& name : *names) {
    const std::string written = name.substr(0, name.find(".tmp-"));
    const bool ours =
        build_of_index_file(written).has_value() || (written == kIndexCatalogue && written != name);
    const bool used = std::any_of(kept.layers.begin(), kept.layers.end(),
                                  [&](const IndexedFile& file) { return file.file == name; });
    std::error_code ignored;
    if (ours && !used) fs::remove(folder / name, ignored);
  }
}

// The number of the next build: files of an index are not written over while others read them.
Result<uint64_t> next_build(const fs::path& folder) {
  MSA_ASSIGN(const std::vector<std::string> names, list_names(folder));
  uint64_t last = 0;
  for (const std::string& name : names)
    if (const auto build = build_of_index_file(name.substr(0, name.find(".tmp-"))))
      last = std::max(last, *build);
  return last + 1;
}

// Removes what a build that failed has written.
class Unfinished {
 public:
  explicit Unfinished(fs::path folder) : folder_(std::move(folder)) {}
  ~Unfinished() {
    std::error_code ignored;
    for (const std::string& name : names_) fs::remove(folder_ / name, ignored);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  void add(std::string name) { names_.push_back(std::move(name)); }
  void keep() { names_.clear(); }

 private:
  fs::path folder_;
  std::vector<std::string> names_;
};

// Of the rows of `width` values; 0 only if all are 0.
float mean_length(std::span<const float> values, size_t width) {
  const size_t rows = values.size() / width;
  double sum = 0;
  for (size_t first = 0; first < rows * width; first += width) {
    double squares = 0;
    for (const float x : values.subspan(first, width)) squares += double{x} * x;
    sum += std::sqrt(squares);
  }
  return static_cast<float>(sum / static_cast<double>(rows));
}

Result<IndexedFile> build_layer(const fs::path& folder, std::string name, int layer_in_model,
                                size_t layer, const ListShape& shape, const Rows& rows, int threads,
                                uint64_t seed, const std::function<void(uint64_t)>& added,
                                std::stop_token stop) {
  MSA_ASSIGN(const auto builder, make_list_builder(shape, threads, seed));
  const size_t all = rows.places.size();
  // Centres have length 1. So that keys are near to them, these are scaled to have it on average,
  // all by the same factor, which changes no order.
  float scale = 1;
  {
    size_t wanted = shape.lists * kSamplePerList;
    if (shape.coding == KeyCoding::product) wanted = std::max(wanted, kSampleForPrototypes);
    Random random(seed, 0);
    const std::vector<size_t> chosen = sample_of(all, std::min(all, wanted), random);
    std::vector<float> sample(chosen.size() * shape.width);
    for (size_t i = 0; i < chosen.size(); ++i)
      rows.read(layer, rows.places[chosen[i]],
                std::span(sample).subspan(i * shape.width, shape.width));
    scale = 1 / std::max(mean_length(sample, shape.width), std::numeric_limits<float>::min());
    for (float& x : sample) x *= scale;
    MSA_TRY(builder->train({sample.data(), chosen.size(), shape.width}));
  }
  std::vector<float> keys(std::min(all, kBatch) * shape.width);
  std::vector<uint32_t> numbers;
  for (size_t first = 0; first < all; first += kBatch) {
    if (stop.stop_requested()) return stopped();
    const size_t count = std::min(kBatch, all - first);
    numbers.clear();
    for (size_t i = 0; i < count; ++i) {
      rows.read(layer, rows.places[first + i],
                std::span(keys).subspan(i * shape.width, shape.width));
      numbers.push_back(rows.places[first + i].number);
    }
    for (float& x : std::span(keys).first(count * shape.width)) x *= scale;
    MSA_TRY(builder->add({keys.data(), count, shape.width}, numbers));
    added(count);
  }
  return write_index_file(folder, std::move(name), layer_in_model, shape, all, *builder);
}

Result<ListShape> choose_shape(const fs::path& bank, const IndexSettings& settings, size_t width,
                               uint64_t rows) {
  const auto invalid = [&](std::string what) {
    return Error{Code::invalid_argument, fmt::format("{}: {}", bank.string(), what)};
  };
  if (rows == 0)
    return invalid("there is no document that can be indexed; encode some, or use exact routing");
  ListShape shape{settings.coding, width, settings.lists};
  if (shape.lists == 0) shape.lists = default_lists(rows);
  if (shape.lists > rows)
    return invalid(
        fmt::format("{} lists are more than the {} chunks; ask for fewer", shape.lists, rows));
  if (shape.coding == KeyCoding::product && rows < kPrototypes)
    return invalid(
        fmt::format("{} chunks are too few for product quantisation, which needs {}; use "
                    "--type ivf",
                    rows, kPrototypes));
  return shape;
}

}  // namespace

Result<IndexMeasure> build_bank_index(const fs::path& bank_folder, Backend& backend,
                                      std::shared_ptr<const Snapshot> snapshot, size_t head_dim,
                                      const IndexSettings& settings,
                                      const IndexProgressSink& progress, std::stop_token stop) {
  MSA_TRY(check_list_index_support());
  if (!(settings.recall > 0 && settings.recall <= 1))
    return Error{Code::invalid_argument,
                 fmt::format("recall: {} is not above 0 and at most 1", settings.recall)};
  size_t width = 0;
  for (const SegmentView& segment : snapshot->segments)
    if (!segment.layers.empty()) width = segment.layers.front().keys.cols;

  const auto start = Clock::now();
  Rows rows(*snapshot, width);
  MSA_TRY(rows.collect(bank_folder, stop));
  MSA_ASSIGN(const ListShape shape,
             choose_shape(bank_folder, settings, width, rows.catalogue.rows));
  const fs::path folder = bank_folder / kIndexFolder;
  MSA_TRY(make_folder(folder));
  MSA_ASSIGN(const FolderLock lock, FolderLock::take(folder));
  MSA_ASSIGN(const uint64_t build, next_build(folder));

  IndexMeasure done;
  done.catalogue = std::move(rows.catalogue);
  IndexCatalogue& catalogue = done.catalogue;
  done.left_out = rows.left_out;
  catalogue.coding = shape.coding;
  catalogue.width = shape.width;
  catalogue.lists = shape.lists;
  Unfinished unfinished(folder);
  const size_t layers = snapshot->router_layers.size();
  uint64_t added = 0;
  for (size_t l = 0; l < layers; ++l) {
    if (stop.stop_requested()) return stopped();
    const int layer = snapshot->router_layers[l];
    std::string name = index_file_name(build, layer);
    unfinished.add(name);
    MSA_ASSIGN(IndexedFile file,
               build_layer(
                   folder, std::move(name), layer, l, shape, rows, backend.threads(), settings.seed,
                   [&](uint64_t more) {
                     added += more;
                     if (progress) progress(IndexStage::building, added, catalogue.rows * layers);
                   },
                   stop));
    file.candidates = shape.coding == KeyCoding::scalar ? 4 : 16;
    catalogue.layers.push_back(std::move(file));
  }
  done.build_seconds = seconds_since(start);

  // As a question will search it: out of the files.
  const auto measuring = Clock::now();
  MSA_ASSIGN(std::shared_ptr<BankIndex> index,
             BankIndex::open(folder, catalogue, backend.threads()));
  RecallTest test(backend, snapshot, head_dim, index);
  size_t tokens = 0;
  for (size_t l = 0; l < layers; ++l) {
    const FoldedQuestions questions = settings.questions.empty()
                                          ? sampled_questions(rows, l, width, settings.seed)
                                          : settings.questions[l];
    if (l == 0) {
      done.questions = questions.questions.size();
      for (const auto& question : questions.questions) tokens += question.size() / width;
    }
    MSA_ASSIGN(LayerMeasure measure, test.tune(l, questions, settings.recall, stop));
    catalogue.layers[l] = measure.file;
    done.layers.push_back(std::move(measure));
    if (progress)
      progress(IndexStage::measuring, (l + 1) * done.questions, layers * done.questions);
  }
  done.question_tokens = static_cast<double>(tokens) / static_cast<double>(done.questions);
  done.measure_seconds = seconds_since(measuring);

  MSA_ASSIGN(AtomicFileWriter file, AtomicFileWriter::create(folder / kIndexCatalogue));
  MSA_TRY(file.write(std::as_bytes(std::span<const char>(to_text(catalogue)))));
  MSA_TRY(file.commit());
  unfinished.keep();
  remove_others(folder, catalogue);
  return done;
}

}  // namespace msa
