-- What kind of cause an error names, by words in its class and message: resource before network ("pool timeout"), network before
-- validation ("invalid response from gateway"). An expression that several questions share.
multiIf(
  match(concat(error_class, ' ', error_message), '(?i)memory|\\boom|disk|no space|quota|too many|deadlock|lock wait|exhaust|rate.?limit|\\b429\\b|\\bpool\\b|resource'), 'resource',
  match(concat(error_class, ' ', error_message), '(?i)time.?out|timed out|connect|refused|reset by|unreachable|socket|\\bdns\\b|resolve|\\bssl|\\btls|network|broken pipe|\\b50[234]\\b|gateway|\\bhttp'), 'network',
  match(concat(error_class, ' ', error_message), '(?i)valid|argument|typeerror|valueerror|keyerror|key not found|not.?found|nomethod|attributeerror|missing|pars|schema|constraint|unprocessable|decod|coerc|convert'), 'validation',
  'unknown')
