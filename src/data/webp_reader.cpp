#include "data/webp_reader.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <string_view>

#include "data/exif.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

const std::uint8_t* webp_bytes(std::span<const std::byte> encoded) {
  return reinterpret_cast<const std::uint8_t*>(encoded.data());
}

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

}  // namespace

bool WebpReader::recognises(std::span<const std::byte> encoded) {
  const std::string_view text(reinterpret_cast<const char*>(encoded.data()), encoded.size());
  return text.starts_with("RIFF") && text.substr(0, 12).ends_with("WEBP") && text.size() >= 12;
}

WebpReader::WebpReader(std::span<const std::byte> encoded) : encoded_(encoded) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(webp_bytes(encoded), encoded.size(), &features) != VP8_STATUS_OK)
    throw Error("corrupt WebP: no header of an image");
  if (features.has_animation != 0) throw Error("an animated WebP, want a still one");
  size_ = {features.width, features.height};
}

int WebpReader::orientation() const {
  const WebPData data{webp_bytes(encoded_), encoded_.size()};
  const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));
  WebPChunkIterator chunk;
  if (demuxer == nullptr || WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) == 0) return 1;
  const int orientation =
      exif_orientation({reinterpret_cast<const std::byte*>(chunk.chunk.bytes), chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

void WebpReader::read(std::uint8_t* out) const {
  const int stride = 3 * size_.width;
  const std::size_t size =
      static_cast<std::size_t>(stride) * static_cast<std::size_t>(size_.height);
  if (WebPDecodeRGBInto(webp_bytes(encoded_), encoded_.size(), out, size, stride) == nullptr)
    throw Error("corrupt WebP: its pixels are damaged or cut short");
}

}  // namespace pfc
