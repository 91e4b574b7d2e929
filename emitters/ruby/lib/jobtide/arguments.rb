# frozen_string_literal: true

require "json"
require "jobtide/bounds"
require "jobtide/masking"

# The arguments of a job as `args_preview`: nothing by default; for classes on the allow-list, masked before anything is
# written down, by the rules that every language has (contract/README.md).
module Jobtide
  class Arguments
    MAX_CHARS = 2048
    MAX_TEXT_CHARS = 256
    MAX_MEMBERS = 50
    MAX_DEPTH = 5
    MAX_INTEGER = (2**53) - 1

    # By the settings that the emitter has now.
    def self.current
      settings = Jobtide.emitter.settings
      return @current if @settings.equal?(settings)

      @current = new(settings)
      @settings = settings
      @current
    end

    def initialize(settings)
      @none = settings.args.empty?
      @all = settings.args == "*"
      @classes = settings.args.split(",").map(&:strip).to_h { |name| [name, true] }
      @secret = settings.args_mask.split(",").map { |part| part.strip.downcase }.reject(&:empty?)
    end

    # nil unless this class may show its arguments.
    def preview(job_class, args)
      return if @none || !(@all || @classes.key?(job_class))

      JSON.generate(shown(args, 0))[0, MAX_CHARS]
    end

    private

    def shown(value, depth)
      case value
      when String, Symbol then Masking.safe(Bounds.utf8(value.to_s)[0, MAX_TEXT_CHARS])
      when Integer then value.abs > MAX_INTEGER ? value.to_s : value
      when true, false, nil then value
      when Float then value.finite? ? value : nil
      when Hash, Array then depth > MAX_DEPTH ? "…" : members(value, depth)
      else Bounds.utf8(value.class.name.to_s)
      end
    end

    def members(value, depth)
      return value.first(MAX_MEMBERS).map { |member| shown(member, depth + 1) } if value.is_a?(Array)

      value.first(MAX_MEMBERS).to_h do |key, member|
        name = Bounds.utf8(Bounds.printed(key))
        [name, hides?(name) ? Masking::MASK : shown(member, depth + 1)]
      end
    end

    def hides?(name)
      plain = name.downcase
      @secret.any? { |part| plain.include?(part) }
    end
  end
end
