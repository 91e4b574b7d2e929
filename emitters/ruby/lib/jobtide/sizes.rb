# frozen_string_literal: true

require "json"
require "jobtide/bounds"

# The size of an event, and values that are no JSON: everything becomes an event of at most 32 KiB.
#
# Pure, and off the usual path: called when an event turned out too large, or could not be written. It loses its
# backtrace, then arguments and labels, then the end of its message; it says `truncated`, and it is sent.
module Jobtide
  module Sizes
    MAX_EVENT_BYTES = 32 * 1024
    NUMBER_BYTES = 256 # room for id, epoch, lane and seq, which come later
    ROOM = MAX_EVENT_BYTES - NUMBER_BYTES
    ESSENTIAL = %w[
      tenant environment system queue job_class job_id attempt worker_id error truncated enqueued_at started_at run_at
      duration_ms next emitted dropped spooled clean epoch
    ].freeze
    MAX_INTEGER = (2**53) - 1

    module_function

    # Members (a Hash) as JSON text without its braces, whatever they hold.
    def members(hash)
      JSON.generate(hash)[1..-2]
    rescue JSON::GeneratorError, JSON::NestingError, EncodingError
      JSON.generate(repaired(hash))[1..-2]
    end

    # The JSON of an event in at most ROOM bytes.
    def shortened(raw)
      event = JSON.parse(raw)
      data = event["data"]
      limit = ROOM - (raw.bytesize - JSON.generate(data).bytesize)
      data["truncated"] = true
      data["error"].delete("backtrace") if data["error"].is_a?(Hash)
      %w[args_preview labels].each { |member| data.delete(member) if JSON.generate(data).bytesize > limit }
      shorten_message(data, limit)
      data = data.slice(*ESSENTIAL) if JSON.generate(data).bytesize > limit # only what an app put in itself is left
      JSON.generate(event.merge("data" => data))
    end

    def shorten_message(data, limit)
      error = data["error"]
      return unless error.is_a?(Hash) && error["message"].is_a?(String)

      while (over = JSON.generate(data).bytesize - limit).positive? && !error["message"].empty?
        keep = error["message"].length * 3 / 4 # escapes: one character may be six bytes
        keep = [keep, error["message"].length - (over / 6)].min
        error["message"] = error["message"][0, [keep, 0].max]
      end
    end

    # The value with strings that can be encoded, string keys and numbers JSON has.
    def repaired(value, depth = 0)
      case value
      when String then Bounds.utf8(value)
      when nil, true, false then value
      when Hash then depth > 8 ? "…" : value.to_h { |key, member| [Bounds.utf8(Bounds.printed(key)), repaired(member, depth + 1)] }
      when Array then depth > 8 ? "…" : value.map { |member| repaired(member, depth + 1) }
      when Integer then value.abs > MAX_INTEGER ? value.to_s : value
      when Float then value.finite? ? value : nil
      else Bounds.utf8(Bounds.printed(value))
      end
    end
  end
end
