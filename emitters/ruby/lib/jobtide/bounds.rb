# frozen_string_literal: true

require "digest"
require "json"
require "zlib"

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
    # Quoted text; ids: words of hex or digits with a digit in them; numbers.
    VARYING = /"[^"]*"|'[^']*'|`[^`']*'|\b(?=[0-9a-f-]*[0-9])[0-9a-f][0-9a-f-]{7,}\b|0x[0-9a-f]+|\d+/i.freeze
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

    # The contract's `error` of an exception. `detail` is the setting: class, message or full.
    def error(exception, detail)
      return { "class" => "Unknown" } if exception.nil?

      facts = { "class" => name(exception.class.name || "(anonymous)") }
      if detail != "class"
        facts["message"] = message(exception)
        facts["fingerprint"] = fingerprint(facts["class"], facts["message"])
      end
      if detail == "full" && (frames = exception.backtrace)
        facts["backtrace"] = utf8(frames.first(MAX_FRAMES).join("\n"))[0, MAX_BACKTRACE_CHARS]
      end
      facts
    end

    # Equal for errors that differ only in what varies: numbers, ids, quoted values. The first line of the message counts.
    def fingerprint(error_class, message)
      Digest::SHA256.hexdigest("#{error_class}\n#{message.lines.first.to_s[0, 512].strip.gsub(VARYING, '*')}")[0, 16]
    end

    def message(exception)
      utf8(exception.message.to_s)[0, MAX_MESSAGE_CHARS]
    rescue StandardError
      "(a message that cannot be printed)"
    end
  end
end
