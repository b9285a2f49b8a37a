#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "pfc/data/image_source.h"
#include "pfc/eval/ifrt.h"
#include "pfc/eval/ijb.h"
#include "pfc/eval/megaface.h"
#include "pfc/eval/report.h"
#include "pfc/eval/verification.h"

namespace pfc {

/// Finds an image by its row in the features or its number in a set. Nothing if the image is not at
/// hand.
using ImageOfRow = std::function<std::optional<RgbImage>(std::int64_t row)>;

/// Decodes images by number; nothing for images that cannot be read or decoded. The source must
/// outlive the result.
ImageOfRow pictures_of(const ImageSource& images);
/// Finds the image of a row by its name, if the source has an image of that name. Both must outlive
/// the result.
ImageOfRow pictures_by_name(const ImageSource& images, const Features& features);
/// Returns no image.
std::optional<RgbImage> no_picture(std::int64_t row);

/// A page for each protocol; `subtitle` says what was evaluated. In `images[set]`, images 2i and 2i
/// + 1 are pair i.
Report verification_report(std::span<const VerificationResult> results,
                           std::span<const ImageOfRow> images, std::string subtitle);
Report ijb_report(const IjbSet& set, const IjbTemplates& templates,
                  const IjbVerification& verification,
                  std::span<const IjbIdentification> identification, const IjbOptions& options,
                  const ImageOfRow& image, std::string subtitle);
Report ifrt_report(const IfrtResult& result, const Features& features, const ImageOfRow& image,
                   std::string subtitle);
Report megaface_report(const MegafaceResult& result, const Features& probes,
                       const Features& distractors, const ImageOfRow& probe,
                       const ImageOfRow& distractor, std::string subtitle);

}  // namespace pfc
