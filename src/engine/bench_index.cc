#include "engine/bench_index.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "approximate/index_builder.h"
#include "base/aligned_buffer.h"
#include "base/new_folder.h"
#include "base/random.h"
#include "memory/snapshot.h"

namespace msa {
namespace {

constexpr size_t kKvHeads = 8, kHeadDim = 128, kWidth = kKvHeads * kHeadDim;
constexpr size_t kChunksPerDocument = 8, kDocumentsPerTopic = 32;
constexpr size_t kQuestions = 100, kQuestionTokens = 8;

// Noise that a vector of length 1 per head gets, as a length.
constexpr float kDocumentNoise = 0.6f, kChunkNoise = 0.6f, kTokenNoise = 0.8f;

// to += noise of this length per head, uniform in each value.
void add_noise(Random& random, float length, std::span<float> to) {
  // A uniform value from -1 to 1 has the variance 1/3.
  const float scale = length * std::sqrt(3.0f / kHeadDim);
  for (size_t i = 0; i < to.size(); i += 4) {  // four values from each draw
    const uint64_t bits = random.bits();
    for (size_t j = 0; j < 4; ++j) {
      const auto value = static_cast<float>(static_cast<int16_t>(bits >> (16 * j))) / 0x8000;
      to[i + j] += scale * value;
    }
  }
}

void normalise_heads(std::span<float> row) {
  for (size_t h = 0; h < kKvHeads; ++h) {
    const std::span<float> head = row.subspan(h * kHeadDim, kHeadDim);
    float squares = 0;
    for (const float x : head) squares += x * x;
    const float factor = 1 / std::max(std::sqrt(squares), 1e-12f);
    for (float& x : head) x *= factor;
  }
}

// Keys as a trained router may make them: a document's chunks are near to what it is about, and
// documents of one topic near to each other. Uniform random keys have no neighbours, and every
// index but the scan is hopeless with them.
//   topic     a random direction for each head
//   document  its topic plus noise of kDocumentNoise of its length
//   chunk     its document plus noise of kChunkNoise
//   question  tokens near to one document, each plus noise of kTokenNoise
struct ClusteredCase {
  AlignedBuffer<bf16> keys;
  std::vector<DocumentSpan> spans;
  FoldedQuestions questions;
  std::shared_ptr<Snapshot> snapshot = std::make_shared<Snapshot>();

  ClusteredCase(size_t chunks, uint64_t seed) : keys(chunks * kWidth) {
    const size_t documents = (chunks + kChunksPerDocument - 1) / kChunksPerDocument;
    SegmentView& segment = snapshot->segments.emplace_back();
    segment.id = 1;
    std::vector<float> row(kWidth);
    const auto topic_of = [&](size_t document, std::vector<float>& to) {
      Random random(seed, document / kDocumentsPerTopic);
      std::fill(to.begin(), to.end(), 0.0f);
      add_noise(random, 1, to);
      normalise_heads(to);
    };
    const auto document_of = [&](size_t document, std::vector<float>& to) {
      topic_of(document, to);
      Random random(seed + 1, document);
      add_noise(random, kDocumentNoise, to);
    };
    Random chunk_noise(seed + 2), question_noise(seed + 3);
    std::vector<float> about(kWidth);
    for (size_t d = 0; d < documents; ++d) {
      document_of(d, about);
      const size_t first = d * kChunksPerDocument,
                   count = std::min(kChunksPerDocument, chunks - first);
      for (size_t c = first; c < first + count; ++c) {
        row = about;
        add_noise(chunk_noise, kChunkNoise, row);
        normalise_heads(row);
        for (size_t i = 0; i < kWidth; ++i) keys[c * kWidth + i] = bf16::from_float(row[i]);
      }
      spans.push_back(
          {static_cast<uint32_t>(d), static_cast<uint32_t>(first), static_cast<uint32_t>(count)});
    }
    segment.documents = spans;
    segment.layers.push_back(
        {MatView<const bf16>(keys.data(), chunks, kWidth), {nullptr, DType::bf16, chunks, 0}});
    snapshot->router_layers = {0};
    snapshot->documents = documents;
    snapshot->chunks = chunks;

    questions.width = kWidth;
    for (size_t q = 0; q < kQuestions; ++q) {
      document_of(question_noise.below(documents), about);
      std::vector<float>& question = questions.questions.emplace_back();
      for (size_t t = 0; t < kQuestionTokens; ++t) {
        row = about;
        add_noise(question_noise, kTokenNoise, row);
        normalise_heads(row);
        question.insert(question.end(), row.begin(), row.end());
      }
    }
  }
};

}  // namespace

Result<void> bench_index(Backend& backend, const BenchOptions& options, std::stop_token stop,
                         const std::function<void(BenchFigure)>& add) {
  MSA_TRY(check_list_index_support());
  const size_t chunks = std::clamp<size_t>(options.index_chunks, 1, UINT32_MAX);
  const ClusteredCase all(chunks, options.seed);
  for (const KeyCoding coding : {KeyCoding::scalar, KeyCoding::product}) {
    if (coding == KeyCoding::product && chunks < kPrototypes) continue;
    MSA_ASSIGN(const NewFolder scratch,
               NewFolder::create(std::filesystem::temp_directory_path() /
                                 fmt::format("msa-bench-index-{}", ::getpid())));
    IndexSettings settings;
    settings.coding = coding;
    settings.seed = options.seed;
    settings.questions = {all.questions};
    MSA_ASSIGN(const IndexMeasure measure,
               build_bank_index(scratch.working_path(), backend, all.snapshot, kHeadDim, settings,
                                {}, stop));
    const LayerMeasure& layer = measure.layers.front();
    const std::string name = coding == KeyCoding::scalar ? "index ivf" : "index ivfpq";
    const auto megabytes = [](double bytes) { return bytes / 1e6; };
    add({name + ", recall@16", "%", 100 * layer.file.recall, "", 0, 0,
         fmt::format("{} questions of {} tokens that did not choose the effort; {} clustered keys "
                     "of MSA-4B's shape, one layer, {} to a document, {} documents to a topic",
                     measure.questions / 2, kQuestionTokens, chunks, kChunksPerDocument,
                     kDocumentsPerTopic)});
    add({name + ", fewer bytes read", "times", layer.exact_bytes / layer.question_bytes, "", 0, 0,
         fmt::format("{:.1f} MB instead of {:.1f} per question: centres, {} of {} lists for each "
                     "token, and {} documents in full",
                     megabytes(layer.question_bytes), megabytes(layer.exact_bytes),
                     layer.file.probes, measure.catalogue.lists,
                     layer.file.candidates * kRecallAt)});
    add({name + ", time", "ms", 1e3 * layer.question_seconds, "", 0, 0,
         fmt::format("per question, the exact scan {:.2f} ms", 1e3 * layer.exact_seconds)});
    add({name + ", size", "MB", megabytes(static_cast<double>(layer.file.bytes)), "", 0, 0,
         fmt::format("built in {:.1f} s, measured in {:.1f} s", measure.build_seconds,
                     measure.measure_seconds)});
  }
  return {};
}

}  // namespace msa
