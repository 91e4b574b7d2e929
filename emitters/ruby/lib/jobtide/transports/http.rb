# frozen_string_literal: true

require "json"
require "net/http"
require "openssl"
require "time"
require "uri"
require "zlib"
require "jobtide/errors"
require "jobtide/moments"

# HTTP to the gateway, with the standard library only: gzipped NDJSON, one connection that is kept.
#
# 429 and 5xx are TransportDown, after the Retry-After the gateway asked for; events that the gateway refuses one by one
# are its to report and are not sent again. Broadcasts go unnumbered (`partitions` is nil): the gateway knows the topic.
module Jobtide
  module Transports
    class Http
      MAX_BODY_BYTES = 512 << 10
      LONGEST_RETRY_AFTER_S = 60.0
      UNACCEPTABLE = [400, 413, 422].freeze # the body, not the moment: smaller ones may pass, one event that does not is lost
      BROKEN = [SystemCallError, IOError, SocketError, Timeout::Error, OpenSSL::SSL::SSLError, Net::ProtocolError, Net::HTTPBadResponse, Zlib::Error].freeze

      attr_reader :refused

      def initialize(settings)
        @uri = URI.parse(settings.url)
        @path = @uri.path.empty? ? "/v1/events" : @uri.path
        @timeout_s = settings.request_timeout_ms / 1000.0
        @tls_ca = settings.tls_ca
        @headers = { "content-type" => "application/x-ndjson", "content-encoding" => "gzip", "user-agent" => "jobtide-ruby/#{VERSION}" }
        @headers["authorization"] = "Bearer #{settings.token}" unless settings.token.empty?
        @not_before = 0.0
        @refused = 0
        @body_bytes = MAX_BODY_BYTES
      end

      def partitions
        nil
      end

      # Nothing to learn: the first post tells.
      def connect; end

      # Posts the texts, a body full at a time; returns what is left when one of the posts fails.
      def deliver(texts)
        left = texts
        until left.empty?
          count = fitting(left)
          begin
            post(left.first(count))
          rescue TransportDown
            raise if left.equal?(texts)

            return left
          end
          left = left.drop(count)
        end
        left
      end

      def close
        @http&.finish
      rescue IOError
        nil
      ensure
        @http = nil
      end

      private

      def fitting(texts)
        size = 0
        count = texts.take_while { |text| (size += text.json.bytesize + 1) <= @body_bytes }.size
        [count, 1].max
      end

      def post(texts)
        raise TransportDown, "#{target} asked to wait" if Moments.monotonic_s < @not_before

        response = exchange(texts.map(&:json).join("\n"))
        status = response.code.to_i
        if [200, 202].include?(status)
          note_refused(rejected_in(response.body))
        elsif UNACCEPTABLE.include?(status) && texts.size == 1
          note_refused([{ "status" => status }])
        else
          @body_bytes = [@body_bytes / 4, 1024].max if UNACCEPTABLE.include?(status)
          @not_before = Moments.monotonic_s + retry_after_s(response["retry-after"])
          raise TransportDown, "#{target} answered #{status}: #{Bounds.utf8(response.body.to_s)[0, 200]}"
        end
      end

      def exchange(body)
        @http ||= open
        request = Net::HTTP::Post.new(@path, @headers.merge("sent-at" => (Moments.now_us / 1000).to_s))
        request.body = Zlib.gzip(body, level: 1)
        @http.request(request)
      rescue *BROKEN => e
        close
        raise TransportDown, "#{target}: #{e.class}: #{e.message}"
      end

      # No proxy from the environment: the gateway is named, and near.
      def open
        http = Net::HTTP.new(@uri.hostname, @uri.port, nil)
        http.open_timeout = http.read_timeout = http.write_timeout = @timeout_s
        http.keep_alive_timeout = 30
        http.max_retries = 0
        if @uri.scheme == "https"
          http.use_ssl = true
          http.ca_file = @tls_ca unless @tls_ca.empty?
        end
        http.start
      end

      # Where it goes, for people: no user or password that an URL may hold.
      def target
        "#{@uri.scheme}://#{@uri.hostname}:#{@uri.port}#{@path}"
      end

      def rejected_in(body)
        answer = JSON.parse(body.to_s)
        answer.is_a?(Hash) ? Array(answer["rejected"]) : []
      rescue JSON::ParserError
        []
      end

      def note_refused(refused)
        return if refused.empty?

        Jobtide.log.warn("jobtide: #{target} refused #{refused.size} events, the first because of #{refused[0]}") if @refused.zero?
        @refused += refused.size
      end

      # Seconds to wait: what the gateway says, in seconds or as a date, at most a minute; else none.
      def retry_after_s(header)
        return 0.0 if header.nil?

        seconds = header.match?(/\A\s*\d+(\.\d+)?\s*\z/) ? header.to_f : Time.httpdate(header) - Time.now
        seconds.clamp(0.0, LONGEST_RETRY_AFTER_S)
      rescue ArgumentError
        10.0
      end
    end
  end
end
