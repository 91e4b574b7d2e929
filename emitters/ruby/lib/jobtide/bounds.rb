# frozen_string_literal: true

require "json"
require "zlib"
require "jobtide/masking"

# Fits what backends and people hand over into the contract's limits: names, errors, durations.
#
# Pure. A name that is too long keeps its beginning and gets a checksum, so that two long names stay two. The size of a
# whole event is `sizes`.
module Jobtide
  module Bounds
    MAX_NAME_CHARS = 256
    MAX_MESSAGE_CHARS = 4096
    MAX_BACKTRACE_CHARS = 16_384
    MAX_FRAMES = 50
    MAX_MS = 31_622_400_000.0
    PLAIN = %r{\A[\w .:/@+-]{1,256}\z}.freeze # ASCII that needs no escape in JSON
    CONTROL = /[\u0000-\u001f]/.freeze
    MASKED_NAME = /[`']\[masked\]'/.freeze
    REPLACEMENT = "\uFFFD"

    module_function

    # A name as the contract takes it: 1 to `limit` characters, no control characters, valid UTF-8.
    def name(value, limit = MAX_NAME_CHARS)
      return value if value.is_a?(String) && limit == MAX_NAME_CHARS && plain?(value)

      text = utf8(printed(value)).gsub(CONTROL, REPLACEMENT)
      text = "unknown" if text.empty?
      text = format("%s~%08x", text[0, limit - 9], Zlib.crc32(text)) if text.length > limit
      text
    end

    def plain?(text)
      text.encoding == Encoding::UTF_8 && PLAIN.match?(text)
    rescue ArgumentError # not valid in its encoding
      false
    end

    # `to_s`, whatever the app's class makes of it.
    def printed(value)
      text = value.to_s
      text.is_a?(String) ? text : "(a #{value.class} that cannot be printed)"
    rescue StandardError
      "(an object that cannot be printed)"
    end

    # The text in UTF-8, with what is none replaced. Bytes without an encoding are taken as UTF-8.
    def utf8(text)
      return text if text.encoding == Encoding::UTF_8 && text.valid_encoding?
      return text.dup.force_encoding(Encoding::UTF_8).scrub(REPLACEMENT) if [Encoding::UTF_8, Encoding::BINARY, Encoding::US_ASCII].include?(text.encoding)

      text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace, replace: REPLACEMENT)
    end

    # The text as a JSON string.
    def quoted(text)
      plain?(text) ? "\"#{text}\"" : JSON.generate(utf8(text))
    end

    # An attempt number as the contract has it: 1 to 100 000.
    def attempt(number)
      number.is_a?(Integer) ? number.clamp(1, 100_000) : 1
    end

    # A duration as the contract has it: milliseconds with three decimals, never negative, at most 366 days.
    def milliseconds(us)
      [[us, 0].max / 1000.0, MAX_MS].min
    end

    # A system name: a backend's own name in the contract's alphabet.
    def system(text)
      plain = printed(text).downcase.gsub(/[^a-z0-9_]/, "_")[0, 32]
      plain.match?(/\A[a-z]/) ? plain : "unknown"
    end

    # The contract's `error` of an exception. `detail` and `masking` are the settings.
    def error(exception, detail, masking)
      return { "class" => "Unknown" } if exception.nil?

      facts = { "class" => name(exception.class.name || "(anonymous)") }
      facts.merge!(message(facts["class"], printed_message(exception), masking, name_of(exception))) if detail != "class"
      if detail == "full" && (frames = exception.backtrace)
        facts["backtrace"] = utf8(frames.first(MAX_FRAMES).join("\n"))[0, MAX_BACKTRACE_CHARS]
      end
      facts
    end

    # `message`, masked, and the `fingerprint` of class and message. `code_name` is a name of the program that may stay.
    def message(error_class, text, masking, code_name = nil)
      plain = utf8(text)[0, Masking::MAX_SEEN_CHARS]
      safe = Masking.safe(plain) # fingerprints are of this, whatever the app lets out
      shown = { "off" => plain, "secrets" => safe }.fetch(masking) { Masking.without_quoted(safe) }
      shown = shown.sub(MASKED_NAME) { |found| "#{found[0]}#{code_name}'" } if code_name && masking == "strict"
      { "message" => shown[0, MAX_MESSAGE_CHARS], "fingerprint" => Masking.fingerprint(error_class, safe) }
    end

    # The method or variable that is missing: Ruby quotes it first. What it is missing on may be data.
    def name_of(exception)
      exception.name if exception.is_a?(NameError) && exception.name
    end

    def printed_message(exception)
      exception.message.to_s
    rescue StandardError
      "(a message that cannot be printed)"
    end
  end
end
