package engine;

import org.operaton.bpm.engine.rest.security.auth.ProcessEngineAuthenticationFilter;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.web.servlet.FilterRegistrationBean;
import org.springframework.boot.web.servlet.ServletRegistrationBean;
import org.springframework.context.annotation.Bean;

@SpringBootApplication
public class Application {

  public static void main(String[] arguments) {
    SpringApplication.run(Application.class, arguments);
  }

  /** The engine's own check of names and passwords, as installations have it; off unless asked for. */
  @Bean
  @ConditionalOnProperty("engine.basic-auth")
  FilterRegistrationBean<ProcessEngineAuthenticationFilter> authentication() {
    var filter = new FilterRegistrationBean<>(new ProcessEngineAuthenticationFilter());
    filter.addInitParameter(
        "authentication-provider",
        "org.operaton.bpm.engine.rest.security.auth.impl.HttpBasicAuthenticationProvider");
    filter.addInitParameter("rest-url-pattern-prefix", "");
    filter.addUrlPatterns("/engine-rest/*");
    filter.setAsyncSupported(true);
    return filter;
  }

  /** A clock that is set by hand; off unless asked for. */
  @Bean
  @ConditionalOnProperty("engine.clock")
  ServletRegistrationBean<Clock> clock() {
    return new ServletRegistrationBean<>(new Clock(), "/clock");
  }
}
