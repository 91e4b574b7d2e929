# frozen_string_literal: true

require "digest"

# What is taken out of texts before they leave: secrets, and what an app may have put into quotes. And fingerprints of errors:
# equal for those that differ only in what varies, the same in every language.
#
# Pure. The rules are those of contract/masking.json. A mask can only know the shapes of secrets, not secrets: where even a
# plain word of a message may be one, the setting `error_detail` is `class`.
module Jobtide
  module Masking
    MASK = "[masked]"
    LEVELS = %w[strict secrets off].freeze
    MAX_SEEN_CHARS = 8192
    FIRST_LINE_CHARS = 512

    WORD = '[^\x00-,./:-@\[-^`{-\x7f]' # A-Z, a-z, 0-9, _, - and everything beyond ASCII
    LOCAL = '[^\x00-*,/:-@\[-^`{-\x7f]' # those, + and .
    SPACE = '[ \t\r\n]'
    START = "(?<![A-Za-z0-9_])"
    FINISH = "(?![A-Za-z0-9_])"
    NOT_WORD = '(?<![^\x00-,./:-@\[-^`{-\x7f])'
    NAMES = "passw|passphrase|pwd|secret|token(?!iz)|api[_-]?key|access[_-]?key|private[_-]?key|credential|session|cookie|cvv" \
            "|creditcard|debitcard|(?<![A-Za-z])(?:card(?!i|board)|iban|ssn(?![A-Za-z]))"
    UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    # Name, pattern, whether the case of ASCII letters counts for nothing. What a rule finds becomes its first group and MASK.
    RULES = [
      ["header", "(#{START}(?:authorization|cookie)\\\\{0,3}['\\\"]?[ \\t]*[:=][ \\t]*)[^\\r\\n]+", true],
      ["bearer", "(#{START}(?:bearer|basic)#{SPACE}+)[A-Za-z0-9_.~+/=-]{6,}", true],
      [
        "named",
        "(#{NOT_WORD}#{WORD}{0,40}?(?:#{NAMES})#{WORD}*\\\\{0,3}['\\\"]?#{SPACE}*(?:=>|[:=]|#{START}is#{FINISH})#{SPACE}*)" \
        "(?:\\[masked\\]|\\\"[^\\\"]*\\\"|'[^']*'|[^ \\t\\r\\n,;&)}\\]]+)",
        true
      ],
      ["url", '(?<=://)[^/?# \t\r\n]*(?=@)', false],
      ["jwt", '(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*', false],
      ["key", "#{START}(?:(?:[sp]k|rk|gh[pousr]|github_pat|xox[a-z]|glpat|whsec)[_-]|AKIA|ASIA|AIza)[A-Za-z0-9_-]{10,}", false],
      ["pem", "-----BEGIN [A-Z ]+-----(?:[^-]|-(?!----END ))*(?:-----END [A-Z ]+-----)?", false],
      ["email", "(?<!#{LOCAL})#{LOCAL}{1,64}@#{WORD}{1,64}(?:\\.#{WORD}{1,64}){1,8}", false],
      ["card", "#{START}[0-9](?:[ -]?[0-9]){12,18}#{FINISH}", false],
      [
        "opaque",
        "(?<![A-Za-z0-9_/.-])(?!#{UUID}#{FINISH})(?=[A-Za-z0-9_+=-]{0,256}[0-9])(?=[A-Za-z0-9_+=-]{0,256}[A-Za-z])[A-Za-z0-9_+=-]{20,}",
        false
      ]
    ].freeze
    BRACES = '\{(?:[^{}\r\n]|\{(?:[^{}\r\n]|\{[^{}\r\n]*\})*\})*\}' # three deep
    QUOTED = "\\\"[^\\\"\\r\\n]*\\\"|(?<![A-Za-z0-9_])'[^'\\r\\n]*'|`[^`'\\r\\n]*['`]|#{BRACES}"
    VARYING = "#{QUOTED}|#{START}(?=[0-9a-fA-F-]*[0-9])[0-9a-fA-F][0-9a-fA-F-]{7,}#{FINISH}|0[xX][0-9a-fA-F]+|[0-9]+"
    CLASS_OR_LETTER = /\\.|\[(?:\\.|[^\]\\])*\]|[a-z]/.freeze

    # Ruby's own /i would fold letters beyond ASCII too.
    def self.compiled(pattern, ignore_case)
      pattern = pattern.gsub(CLASS_OR_LETTER) { |found| found.match?(/\A[a-z]\z/) ? "[#{found}#{found.upcase}]" : found } if ignore_case
      Regexp.new(pattern)
    end

    COMPILED = RULES.map { |_, pattern, ignore_case| compiled(pattern, ignore_case) }.freeze
    IN_QUOTES = Regexp.new(QUOTED)
    THAT_VARIES = Regexp.new(VARYING)
    private_class_method :compiled
    private_constant :COMPILED, :IN_QUOTES, :THAT_VARIES, :CLASS_OR_LETTER

    module_function

    # Without what has the shape of a secret.
    def safe(text)
      COMPILED.reduce(text) { |left, rule| left.gsub(rule) { "#{Regexp.last_match[1]}#{MASK}" } }
    end

    # Without what stands in quotes or braces.
    def without_quoted(text)
      text.gsub(IN_QUOTES) { |found| "#{found[0]}#{MASK}#{found[-1]}" }
    end

    # Sixteen hex digits of a class and the first line of a safe message, without numbers, ids and quoted values.
    def fingerprint(error_class, safe)
      line = safe[0...(safe.index(/[\r\n]/) || safe.length)][0, FIRST_LINE_CHARS].gsub(/\A[ \t]+|[ \t]+\z/, "")
      Digest::SHA256.hexdigest("#{error_class}\n#{line.gsub(THAT_VARIES, '*')}")[0, 16]
    end
  end
end
